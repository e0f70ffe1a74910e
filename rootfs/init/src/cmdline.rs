//! The kernel command line.

use std::fs;

use rubus_config::boot;

/// What `init` reads from the kernel command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cmdline {
    /// `rubus.slot=PARTUUID=...`: the partition that this system came from.
    pub(crate) slot: Option<String>,
    /// `rubus.rescue`: a shell on the console when a step fails.
    pub(crate) rescue: bool,
    /// `rubus.recovery`: see [`boot::recovery`].
    pub(crate) recovery: bool,
    /// `rubus.watchdog=0`: the hardware watchdog stays off.
    pub(crate) without_watchdog: bool,
}

impl Cmdline {
    /// The command line of the running kernel; empty when it cannot be read.
    pub(crate) fn of_kernel() -> Self {
        Self::parse(&text())
    }

    fn parse(text: &str) -> Self {
        let mut parsed = Self {
            recovery: boot::recovery(text),
            ..Self::default()
        };
        for (key, value) in parameters(text) {
            match key.as_str() {
                "rubus.slot" => {
                    parsed.slot = value
                        .as_deref()
                        .and_then(|v| v.strip_prefix("PARTUUID="))
                        .map(str::to_lowercase);
                }
                "rubus.rescue" => parsed.rescue = value.as_deref() != Some("0"),
                "rubus.watchdog" => parsed.without_watchdog = value.as_deref() == Some("0"),
                _ => {}
            }
        }
        parsed
    }
}

/// The text of the kernel command line.
pub(crate) fn text() -> String {
    fs::read_to_string("/proc/cmdline").unwrap_or_default()
}

/// The options that the command line holds for a module, as in
/// `usbcore.quirks=...`, in the form that the kernel takes at load time.
pub(crate) fn module_options(text: &str, module: &str) -> String {
    let mut options = String::new();
    for (key, value) in parameters(text) {
        let Some((owner, option)) = key.split_once('.') else {
            continue;
        };
        if !owner
            .bytes()
            .map(underscored)
            .eq(module.bytes().map(underscored))
        {
            continue;
        }
        if !options.is_empty() {
            options.push(' ');
        }
        options.push_str(option);
        if let Some(value) = value {
            options.push('=');
            if value.contains(' ') {
                options.push_str(&format!("\"{value}\""));
            } else {
                options.push_str(&value);
            }
        }
    }
    options
}

fn underscored(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

/// Splits a command line as the kernel does: at spaces that are not between
/// double quotes; what follows `--` is not the kernel's.
fn parameters(text: &str) -> impl Iterator<Item = (String, Option<String>)> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                words.push(std::mem::take(&mut word));
            }
            c => word.push(c),
        }
    }
    words.push(word);
    words
        .into_iter()
        .filter(|w| !w.is_empty())
        .take_while(|w| w != "--")
        .map(|w| match w.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (w, None),
        })
}

#[cfg(test)]
mod tests {
    use super::{Cmdline, module_options};

    #[test]
    fn the_slot_is_a_partition_uuid_in_any_case() {
        let cmdline = Cmdline::parse("console=ttyAMA0 rubus.slot=PARTUUID=1BADCAFE-02 quiet\n");
        assert_eq!(cmdline.slot.as_deref(), Some("1badcafe-02"));
        assert!(!cmdline.rescue);
    }

    #[test]
    fn a_slot_that_is_not_a_partition_uuid_is_none() {
        assert_eq!(Cmdline::parse("rubus.slot=/dev/mmcblk0p2").slot, None);
        assert_eq!(Cmdline::parse("rubus.slot").slot, None);
        assert_eq!(Cmdline::parse("").slot, None);
    }

    #[test]
    fn rescue_is_a_switch() {
        assert!(Cmdline::parse("rubus.rescue").rescue);
        assert!(Cmdline::parse("rubus.rescue=1").rescue);
        assert!(!Cmdline::parse("rubus.rescue=0").rescue);
        assert!(!Cmdline::parse("rubus.rescued").rescue);
    }

    #[test]
    fn the_watchdog_runs_unless_it_is_switched_off() {
        assert!(!Cmdline::parse("quiet").without_watchdog);
        assert!(!Cmdline::parse("rubus.watchdog=1").without_watchdog);
        assert!(Cmdline::parse("rubus.watchdog=0").without_watchdog);
    }

    #[test]
    fn what_follows_two_dashes_or_stands_in_quotes_is_not_ours() {
        assert!(!Cmdline::parse("quiet -- rubus.rescue").rescue);
        assert!(!Cmdline::parse("note=\"see rubus.rescue here\"").rescue);
    }

    #[test]
    fn module_options_treat_dash_and_underscore_alike() {
        let text = "snd-bcm2835.enable_hdmi=1 quiet usbcore.quirks=1:2 snd_bcm2835.debug";
        assert_eq!(module_options(text, "snd_bcm2835"), "enable_hdmi=1 debug");
        assert_eq!(module_options(text, "usbcore"), "quirks=1:2");
        assert_eq!(module_options(text, "loop"), "");
    }

    #[test]
    fn an_option_with_spaces_stays_quoted() {
        assert_eq!(module_options("brcm.list=\"a b\"", "brcm"), "list=\"a b\"");
    }
}

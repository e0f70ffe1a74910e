//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rubus_service::units::Size;

/// Builds, runs and inspects Rubus images for Raspberry Pi boards.
#[derive(Debug, Parser)]
#[command(name = "rubus", version, max_term_width = 100)]
#[command(after_help = "Examples:
  rubus build --board rpi4 --ssh-key ~/.ssh/id_ed25519.pub
  rubus build --board qemu-virt
  rubus run --forward 8080:8080 --forward 2222:22
  rubus inspect out/rubus-rpi4.img")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an image for a board
    Build(Build),
    /// Boot an image in QEMU; the terminal is its serial console
    Run(Run),
    /// Show what an image holds
    Inspect(Inspect),
    /// Renew rubus.lock from what the Debian mirrors have now
    Lock(Lock),
    /// List the boards that images can be made for
    Boards(Listing),
    /// List the system services that images can hold
    Services(Listing),
    /// List the engines that images can hold
    Engines(Listing),
    /// List the consoles that images can hold
    Consoles(Listing),
    /// Print a completion script for a shell
    #[command(after_help = "Examples:
  source <(rubus completions bash)
  source <(rubus completions zsh)
  rubus completions fish | source")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// `rubus build`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rubus build --board rpi4 --ssh-key ~/.ssh/id_ed25519.pub
  rubus build --board rpi3 --config node.toml --compress xz
  rubus build --board rpi4 --engine docker-28 --engine docker-20")]
pub struct Build {
    /// The board, as `rubus boards` lists them
    #[arg(long)]
    pub board: String,
    /// What to change about the image [default: rubus.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the image goes
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,
    /// A public key that may log in as rubus; a key or a file, may be repeated
    #[arg(long, value_name = "KEY")]
    pub ssh_key: Vec<String>,
    /// Which variants of services the image holds.
    #[command(flatten)]
    pub variants: Variants,
    /// Fail when rubus.lock lacks something, instead of adding it
    #[arg(long)]
    pub locked: bool,
    /// Use only what is in the cache, and the lock as it is
    #[arg(long)]
    pub offline: bool,
    /// How the compressed image is made
    #[arg(long, value_enum, default_value_t = Compress::Zst)]
    pub compress: Compress,
    /// Compression level: 1 to 19 for zst, 0 to 9 for xz
    #[arg(long, value_name = "N")]
    pub level: Option<u32>,
    /// Show where the time went, step by step
    #[arg(long)]
    pub timings: bool,
    /// Where Debian packages come from.
    #[command(flatten)]
    pub mirrors: Mirrors,
}

/// Which variants of services an image holds.
#[derive(Clone, Debug, Default, Args)]
pub struct Variants {
    /// An engine, as `rubus engines` lists them, or a folder; may be repeated, and the node
    /// starts with the first
    #[arg(long, value_name = "NAME")]
    pub engine: Vec<String>,
    /// A console, as `rubus consoles` lists them, or a folder; may be repeated likewise
    #[arg(long, value_name = "NAME")]
    pub console: Vec<String>,
}

/// Where Debian packages come from.
#[derive(Debug, Args)]
pub struct Mirrors {
    /// A mirror of debian [default: rubus.toml, else as this host's apt, else Debian's own]
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// A mirror of debian-security
    #[arg(long, value_name = "URL")]
    pub security_mirror: Option<String>,
}

/// How the compressed image is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compress {
    /// Zstandard: quick, and known to Imager and bmaptool
    Zst,
    /// Smaller and slower; what a Turing Pi board can unpack by itself
    Xz,
    /// No compressed image
    None,
}

/// `rubus run`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rubus run --forward 8080:8080 --forward 2222:22
  rubus run out/rubus-rpi4.img --machine raspi4b
  rubus run --state node1.qcow2 --memory 2G

Ctrl-A X ends the machine.")]
pub struct Run {
    /// The image [default: out/rubus-BOARD.img]
    pub image: Option<PathBuf>,
    /// The board whose image in out/ is meant
    #[arg(long, default_value = "qemu-virt", conflicts_with = "image")]
    pub board: String,
    /// The machine that QEMU emulates [default: what the board says]
    #[arg(long, value_enum)]
    pub machine: Option<Machine>,
    /// Make a port of the guest reachable on 127.0.0.1, as HOST:GUEST; may be repeated
    #[arg(long, value_name = "HOST:GUEST", value_parser = parse_forward)]
    pub forward: Vec<(u16, u16)>,
    /// Memory of virt [default: 1G]; the raspi machines have what the board has
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Size of the card [default: 4G]
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<Size>,
    /// Keep what the machine writes in this file, and go on from it next time
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Add to the kernel's command line
    #[arg(long, value_name = "WORDS")]
    pub append: Option<String>,
}

/// A machine that QEMU emulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Machine {
    /// QEMU's own, the quickest
    Virt,
    /// Raspberry Pi 3B
    Raspi3b,
    /// Raspberry Pi 4B
    Raspi4b,
}

/// `rubus inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The image, compressed or not
    pub image: PathBuf,
    /// List the packages of each service, with their versions
    #[arg(long)]
    pub packages: bool,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

/// `rubus lock`.
#[derive(Debug, Args)]
pub struct Lock {
    /// What is changed about the image [default: rubus.toml, where there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What the image would hold: the lock of your own variants holds them too.
    #[command(flatten)]
    pub variants: Variants,
    /// Where Debian packages come from.
    #[command(flatten)]
    pub mirrors: Mirrors,
}

/// A listing.
#[derive(Debug, Args)]
pub struct Listing {
    /// For programs
    #[arg(long)]
    pub json: bool,
}

fn parse_forward(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("\"{text}\" is not HOST:GUEST, such as 2222:22");
    let (host, guest) = text.split_once(':').ok_or_else(wrong)?;
    match (host.parse(), guest.parse()) {
        (Ok(host), Ok(guest)) if host > 0 && guest > 0 => Ok((host, guest)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_forward_is_two_ports() {
        assert_eq!(parse_forward("2222:22"), Ok((2222, 22)));
        for wrong in ["22", "a:b", "0:22", "22:0", "1:2:3", "70000:1"] {
            assert!(parse_forward(wrong).is_err(), "{wrong}");
        }
    }
}

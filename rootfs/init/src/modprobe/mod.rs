//! `modprobe`: loads modules with what they need. The kernel calls it when it
//! misses a driver, a protocol or a filesystem.

mod glob;
mod index;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use nix::sys::utsname::uname;

use crate::{cmdline, sys};
use index::normalized;

const USAGE: &str = "usage: modprobe [-q] [-r] [-a] [-b] NAME... | NAME OPTION=VALUE...";

/// Runs as `modprobe` with these arguments.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    let request = match Request::parse(arguments) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("modprobe: {error}; {USAGE}");
            return ExitCode::from(2);
        }
    };
    match request.carry_out() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !request.quiet {
                eprintln!("modprobe: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

/// What `modprobe` was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    quiet: bool,
    remove: bool,
    names: Vec<String>,
    options: String,
}

impl Request {
    fn parse(arguments: &[OsString]) -> Result<Self> {
        let mut request = Self::default();
        let mut all = false;
        let mut operands = Vec::new();
        let mut only_operands = false;
        for argument in arguments {
            let argument = argument
                .to_str()
                .with_context(|| format!("{argument:?} is not a name"))?;
            match argument {
                "--" if !only_operands => only_operands = true,
                long if !only_operands && long.starts_with("--") => match long {
                    "--quiet" => request.quiet = true,
                    "--all" => all = true,
                    "--remove" => request.remove = true,
                    "--use-blacklist" | "--verbose" | "--syslog" => {}
                    _ => bail!("unknown option {long}"),
                },
                short if !only_operands && short.len() > 1 && short.starts_with('-') => {
                    for letter in short[1..].chars() {
                        match letter {
                            'q' => request.quiet = true,
                            'a' => all = true,
                            'r' => request.remove = true,
                            // The image has no blacklists and no system log.
                            'b' | 'v' | 's' => {}
                            _ => bail!("unknown option -{letter}"),
                        }
                    }
                }
                operand => operands.push(operand.to_owned()),
            }
        }
        if operands.is_empty() {
            bail!("no module is named");
        }
        if !all && !request.remove {
            request.options = operands.split_off(1).join(" ");
        }
        request.names = operands;
        Ok(request)
    }

    fn carry_out(&self) -> Result<()> {
        if self.remove {
            for name in &self.names {
                sys::module::unload(&normalized(name))
                    .with_context(|| format!("cannot remove {name}"))?;
            }
            return Ok(());
        }
        let modules = Modules::of_running_kernel()?;
        // All are tried; the first error is told.
        let results: Vec<Result<()>> = self
            .names
            .iter()
            .map(|name| modules.load_with(name, &self.options))
            .collect();
        results.into_iter().collect()
    }
}

/// The modules of the running kernel.
pub(crate) struct Modules {
    folder: PathBuf,
    dependencies: String,
    soft_dependencies: String,
    /// Read when a name is no module; most are.
    aliases: RefCell<Option<String>>,
    cmdline: String,
}

impl Modules {
    /// Reads the indexes of the running kernel's modules.
    pub(crate) fn of_running_kernel() -> Result<Self> {
        let release = uname().context("cannot get the release of the kernel")?;
        let folder = Path::new("/usr/lib/modules").join(release.release());
        let list = folder.join("modules.dep");
        let dependencies =
            fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
        Ok(Self {
            // An index that is missing has nothing in it.
            soft_dependencies: fs::read_to_string(folder.join("modules.softdep"))
                .unwrap_or_default(),
            folder,
            dependencies,
            aliases: RefCell::new(None),
            cmdline: cmdline::text(),
        })
    }

    /// Loads a module, or what an alias stands for, with what it needs.
    pub(crate) fn load(&self, name: &str) -> Result<()> {
        self.load_with(name, "")
    }

    fn load_with(&self, name: &str, options: &str) -> Result<()> {
        let mut seen = BTreeSet::new();
        let found = self.resolve(name);
        if found.is_empty() {
            if self.is_built_in(name) {
                return Ok(());
            }
            bail!(
                "there is no module {name} for this kernel in {}",
                self.folder.display()
            );
        }
        // Several modules may serve one alias; one of them is enough.
        let mut results: Vec<Result<()>> = found
            .iter()
            .map(|module| self.load_module(module, options, &mut seen))
            .collect();
        match results.iter().position(Result::is_ok) {
            Some(_) => Ok(()),
            None => results.swap_remove(0),
        }
    }

    /// The modules that a name stands for.
    fn resolve(&self, name: &str) -> Vec<String> {
        let name = normalized(name);
        if index::dependencies(&self.dependencies, &name).is_some() {
            return vec![name];
        }
        let mut aliases = self.aliases.borrow_mut();
        let aliases = aliases.get_or_insert_with(|| {
            fs::read_to_string(self.folder.join("modules.alias")).unwrap_or_default()
        });
        index::aliased(aliases, &name)
    }

    fn is_built_in(&self, name: &str) -> bool {
        let name = normalized(name);
        fs::read_to_string(self.folder.join("modules.builtin"))
            .is_ok_and(|list| list.lines().any(|path| index::module_name(path) == name))
    }

    /// Loads a module after what it needs and before what it wants.
    fn load_module(&self, name: &str, options: &str, seen: &mut BTreeSet<String>) -> Result<()> {
        if !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(files) = index::dependencies(&self.dependencies, name) else {
            bail!("{name} is an alias of no module");
        };
        let soft = index::soft_dependencies(&self.soft_dependencies, name);
        self.load_soft(&soft.pre, seen);
        let last = files.len() - 1;
        for (position, file) in files.into_iter().enumerate() {
            let module = index::module_name(file);
            if position < last && !seen.insert(module.clone()) {
                continue;
            }
            self.insert(file, &module, if position == last { options } else { "" })?;
        }
        self.load_soft(&soft.post, seen);
        Ok(())
    }

    /// Soft dependencies are wishes.
    fn load_soft(&self, names: &[&str], seen: &mut BTreeSet<String>) {
        for name in names {
            for module in self.resolve(name) {
                let _ = self.load_module(&module, "", seen);
            }
        }
    }

    fn insert(&self, file: &str, module: &str, options: &str) -> Result<()> {
        // The kernel reads the whole file before it finds that out.
        if Path::new("/sys/module")
            .join(module)
            .join("initstate")
            .exists()
        {
            return Ok(());
        }
        let mut all = cmdline::module_options(&self.cmdline, module);
        if !all.is_empty() && !options.is_empty() {
            all.push(' ');
        }
        all.push_str(options);
        sys::module::load(&self.folder.join(file), &all)
            .with_context(|| format!("cannot load {module}"))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::Request;

    fn parse(arguments: &[&str]) -> Option<Request> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        Request::parse(&arguments).ok()
    }

    #[test]
    fn as_the_kernel_calls_it() {
        let request = parse(&["-q", "--", "fs-overlay"]).unwrap();
        assert!(request.quiet);
        assert_eq!(request.names, ["fs-overlay"]);
    }

    #[test]
    fn as_docker_calls_it() {
        let request = parse(&["-va", "bridge", "br_netfilter"]).unwrap();
        assert!(!request.quiet);
        assert_eq!(request.names, ["bridge", "br_netfilter"]);
        assert_eq!(request.options, "");
    }

    #[test]
    fn without_all_what_follows_the_name_are_its_options() {
        let request = parse(&["-b", "brcmfmac", "debug=1", "roamoff=1"]).unwrap();
        assert_eq!(request.names, ["brcmfmac"]);
        assert_eq!(request.options, "debug=1 roamoff=1");
        let request = parse(&["-r", "one", "two"]).unwrap();
        assert!(request.remove);
        assert_eq!(request.names, ["one", "two"]);
    }

    #[test]
    fn what_it_does_not_know_it_refuses() {
        assert_eq!(parse(&["-z", "x"]), None);
        assert_eq!(parse(&["--dirty", "x"]), None);
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&["-q"]), None);
        assert_eq!(parse(&["--", "-q"]).unwrap().names, ["-q"]);
    }
}

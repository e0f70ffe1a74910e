//! Where everything is: as [`rubus_config::paths`] says, or as the command line
//! does.

use std::{ffi::OsString, path::PathBuf};

use rubus_config::paths;

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// One folder a service.
    pub(crate) services: PathBuf,
    /// Everything in memory.
    pub(crate) run: PathBuf,
    /// What stays over boots.
    pub(crate) state: PathBuf,
    /// The OCI runtime.
    pub(crate) oci_runtime: PathBuf,
    /// The program that takes settings back whose trial is over.
    pub(crate) configure: PathBuf,
    /// Where the name and the time zone of the node are said.
    pub(crate) etc: PathBuf,
    /// The cgroup that holds one for each service.
    pub(crate) cgroup: PathBuf,
    /// Whether every service is to be the variant that the image starts with.
    pub(crate) recovery: bool,
}

const USAGE: &str = "usage: system-runtime [--services DIR] [--run DIR] [--state DIR] \
     [--oci-runtime FILE] [--configure FILE] [--etc DIR] \
     [--cgroup DIR] [--recovery]";

impl Default for Options {
    fn default() -> Options {
        Options {
            services: paths::SERVICES.into(),
            run: paths::RUN.into(),
            state: paths::STATE.into(),
            oci_runtime: paths::OCI_RUNTIME.into(),
            configure: paths::CONFIGURE.into(),
            etc: "/etc".into(),
            cgroup: PathBuf::from(format!("/sys/fs/cgroup{}", rubus_service::oci::CGROUPS)),
            recovery: false,
        }
    }
}

impl Options {
    /// Reads the command line, without the name of the program.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, String> {
        let mut options = Options::default();
        let mut parser = lexopt::Parser::from_args(args);
        let wrong = |error: lexopt::Error| format!("{error}; {USAGE}");
        while let Some(argument) = parser.next().map_err(wrong)? {
            let path = match argument {
                lexopt::Arg::Long("services") => &mut options.services,
                lexopt::Arg::Long("run") => &mut options.run,
                lexopt::Arg::Long("state") => &mut options.state,
                lexopt::Arg::Long("oci-runtime") => &mut options.oci_runtime,
                lexopt::Arg::Long("configure") => &mut options.configure,
                lexopt::Arg::Long("etc") => &mut options.etc,
                lexopt::Arg::Long("cgroup") => &mut options.cgroup,
                lexopt::Arg::Long("recovery") => {
                    options.recovery = true;
                    continue;
                }
                _ => return Err(wrong(argument.unexpected())),
            };
            *path = parser.value().map_err(wrong)?.into();
        }
        Ok(options)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run.join("runtime.sock")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.run.join("log")
    }

    pub(crate) fn oci_state(&self) -> PathBuf {
        self.run.join("crun")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.run.join("config.json")
    }

    pub(crate) fn trial(&self) -> PathBuf {
        self.run.join("trial.json")
    }

    pub(crate) fn boot_record(&self) -> PathBuf {
        self.run.join("boot.jsonl")
    }

    /// What `init` reaped while no runtime was there, one JSON object a line.
    pub(crate) fn reaped(&self) -> PathBuf {
        self.run.join("reaped.jsonl")
    }

    pub(crate) fn saved_state(&self) -> PathBuf {
        self.run.join("runtime.json")
    }

    pub(crate) fn pids(&self) -> PathBuf {
        self.run.join("pids")
    }

    /// Where the OCI runtime writes the number of a service's first process.
    pub(crate) fn pid_file(&self, service: &str) -> PathBuf {
        self.pids().join(service)
    }

    /// The same of a command that runs inside it: `post-start` or `health`.
    pub(crate) fn exec_pid_file(&self, service: &str, what: &str) -> PathBuf {
        self.pids().join(format!("{service}.{what}"))
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.run.join("roots")
    }

    /// What was chosen of the variants of services.
    pub(crate) fn variants_record(&self) -> PathBuf {
        self.state.join("variants.json")
    }

    /// Where variants lie that were added, one folder a service.
    pub(crate) fn added_variants(&self) -> PathBuf {
        self.state.join("variants")
    }

    /// Where services lie that were added, one folder a service.
    pub(crate) fn own_services(&self) -> PathBuf {
        self.state.join("services")
    }

    /// Where the layers of roots lie that are kept.
    pub(crate) fn kept_roots(&self) -> PathBuf {
        self.state.join("roots")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_that_the_device_agreed_on() {
        let options = Options::parse([]).unwrap();
        assert_eq!(options.socket().to_str(), Some(paths::RUNTIME_SOCKET));
        assert_eq!(options.logs().to_str(), Some(paths::LOGS));
        assert_eq!(options.oci_state().to_str(), Some(paths::OCI_STATE));
        assert_eq!(options.config().to_str(), Some(paths::CONFIG));
        assert_eq!(options.trial().to_str(), Some(paths::TRIAL));
        assert_eq!(options.boot_record().to_str(), Some(paths::BOOT_RECORD));
        assert_eq!(options.own_services().to_str(), Some(paths::OWN_SERVICES));
        assert_eq!(
            options.roots().to_str(),
            Some(rubus_service::oci::WRITABLE_ROOTS)
        );
    }

    #[test]
    fn the_command_line_wins() {
        let options =
            Options::parse(["--run".into(), "/r".into(), "--services=/s".into()]).unwrap();
        assert_eq!(options.services, PathBuf::from("/s"));
        assert_eq!(options.socket(), PathBuf::from("/r/runtime.sock"));
        for wrong in [&["--runn", "x"][..], &["--run"], &["x"]] {
            let error = Options::parse(wrong.iter().map(OsString::from)).unwrap_err();
            assert!(error.contains("usage"), "{error}");
        }
    }
}

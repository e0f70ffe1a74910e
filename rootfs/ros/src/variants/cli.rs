//! The command line of `ros engine` and `ros console`.

use clap::{Args, Subcommand, ValueHint};

use crate::cli::Listing;

/// The Docker engine.
#[derive(Debug, Subcommand)]
pub(crate) enum Engine {
    /// List the engines: the one that runs, the one that the next boot tries, the others
    #[command(after_help = "\
Examples:
  ros engine list
  ssh rubus@node1.local ros engine list --json | jq -r '.variants[] | select(.state == \"current\") | .name'")]
    List(Listing),
    /// Run another engine now, and go back when it does not work
    ///
    /// Containers stop in an orderly way; those with a restart policy
    /// (`always`, `unless-stopped`) run again under the new engine. Images and
    /// volumes stay. When the new engine does not answer, or a container does
    /// not come back, the old one is put back. The node finishes this by
    /// itself: Ctrl-C ends only the report.
    #[command(after_help = "\
Examples:
  ros engine switch docker-28")]
    Switch(Named),
    /// Have the next boot try another engine
    ///
    /// It goes back by itself when that one does not work. To enable the
    /// current engine means that the next boot tries nothing.
    #[command(after_help = "\
Examples:
  ros engine enable docker-28 && ros os reboot")]
    Enable(Named),
    /// Add an engine of your own: from an image of a registry, or from a file
    ///
    /// It has to hold a root filesystem with dockerd, containerd, runc and what
    /// they need, such as iptables; what starts them comes from the image of
    /// this node. A file is a tar archive of a root filesystem or what `docker
    /// save` writes, also compressed by gzip. An image is fetched by the engine
    /// that runs. The engine runs with all privileges, so add only what you
    /// trust.
    #[command(after_help = "\
Examples:
  ros engine add docker-27 docker:27-dind
  ros engine add mine ./engine.tar.gz && ros engine switch mine")]
    Add(Add),
    /// Remove an engine that was added
    #[command(after_help = "\
Examples:
  ros engine remove docker-27")]
    Remove(Named),
}

/// The console, in which people log in.
#[derive(Debug, Subcommand)]
pub(crate) enum Console {
    /// List the consoles: the one that runs, the one that the next boot tries, the others
    #[command(after_help = "\
Examples:
  ros console list")]
    List(Listing),
    /// Run another console now, and go back when it does not work
    ///
    /// This ends every login. Home folders, host keys and containers stay.
    #[command(after_help = "\
Examples:
  ros console switch debian
  ssh rubus@node1.local ros console switch --yes debian")]
    Switch(Confirmed),
    /// Have the next boot try another console
    ///
    /// It goes back by itself when that one does not work. To enable the
    /// current console means that the next boot tries nothing.
    #[command(after_help = "\
Examples:
  ros console enable debian && ros os reboot")]
    Enable(Named),
}

/// Which one.
#[derive(Args, Debug)]
pub(crate) struct Named {
    /// Its name, as in the list
    pub(crate) name: String,
}

/// What to add.
#[derive(Args, Debug)]
pub(crate) struct Add {
    /// What to call it: lower case letters, digits, `-` and `.`
    pub(crate) name: String,
    /// An image of a registry, or a file
    #[arg(value_name = "IMAGE|FILE", value_hint = ValueHint::FilePath)]
    pub(crate) source: String,
}

/// Which one, and whether that is sure.
#[derive(Args, Debug)]
pub(crate) struct Confirmed {
    /// Do not ask whether the logins may end
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) named: Named,
}

//! What the runtime reports of the variants of a service, and of switches
//! between them.

use serde::{Deserialize, Serialize};

/// What the own variant of a service is called that does not name it.
pub const UNNAMED: &str = "default";

/// All variants of a service, as `GET /v1/services/NAME/variants` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variants {
    /// The service.
    pub service: String,
    /// Its variants: the one that the image starts with, those that the image
    /// has besides, those that were added on the node.
    pub variants: Vec<Variant>,
    /// The switch that is under way.
    pub switch: Option<Progress>,
    /// How the last one ended.
    pub last: Option<Outcome>,
    /// What people should know besides; empty when there is nothing.
    pub notice: String,
}

/// One variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Its version, where it has one.
    pub version: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// What it is to the node.
    pub state: Choice,
    /// Whether a switch to it is under way.
    pub trial: bool,
    /// Why it cannot run, where that can be seen; empty when it looks well.
    pub problem: String,
}

/// Where a variant comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// It is in the image.
    Image,
    /// It was added on the node.
    Added,
}

/// What a variant is to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The service is this one.
    Current,
    /// The next boot tries it.
    Enabled,
    /// It could be switched to.
    Disabled,
}

impl Choice {
    /// The word for it, as in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

/// What a switch is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The one that goes makes ready to stop.
    Drain,
    /// It is stopped.
    Stop,
    /// The one that comes is started, until it is ready.
    Start,
    /// What depends on it is looked at.
    Gate,
}

/// A switch under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// When it began, RFC 3339 in UTC; what tells it from others.
    pub began: String,
    /// Where from.
    pub from: String,
    /// Where to.
    pub to: String,
    /// What it is doing.
    pub step: Step,
    /// Why it is going back, if it is: then the steps lead from `to` to `from`.
    pub back: Option<String>,
}

/// How a switch ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// When it began, RFC 3339 in UTC; what tells it from others.
    pub began: String,
    /// When that was decided.
    pub ended: String,
    /// Where from.
    pub from: String,
    /// Where to.
    pub to: String,
    /// Whether it got there.
    pub done: bool,
    /// Why not; or what is to be said of it, which may be nothing.
    pub reason: String,
}

/// The body of a request that names a variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its name.
    pub variant: String,
}

//! Where functions run.

pub mod docker;

use std::{fmt, net::SocketAddr, path::Path, sync::Arc};

use futures_util::stream::BoxStream;

use crate::model::{FunctionDeployment, FunctionId, FunctionStatus, Map, Usage, logs};

/// Lines of a function's log, as they come.
pub type Lines = BoxStream<'static, Result<logs::Line>>;

/// What keeps functions, and runs their replicas.
///
/// The contract, which `tests/conformance.rs` checks on every provider:
///
/// - A function is there from the end of [`deploy`](Provider::deploy) to the
///   beginning of [`delete`](Provider::delete), across restarts of the gateway,
///   of whatever runs it, and of the node.
/// - What was deployed is what is told of it, to the letter, besides the label
///   `faas_function`.
/// - Replicas that run come back after a restart; a function that was scaled to
///   zero stays there.
/// - Operations on one function do not overlap: the provider puts them in order.
/// - An operation that fails leaves the function as it was.
/// - A secret is known by its namespace and name, and never told again. A
///   function sees those that its deployment names, each as the file
///   `/var/openfaas/secrets/NAME`, to the byte and for every user; a secret that
///   is replaced is replaced there too. A deployment that names one which is
///   not there is refused.
/// - Any operation may say [`Error::Unavailable`] at any time, and works again
///   by itself once what it needs is back.
pub trait Provider: Send + Sync + 'static {
    /// What it is.
    fn about(&self) -> impl Future<Output = About> + Send;

    /// Whether it can be used now; the error says why not.
    fn ready(&self) -> impl Future<Output = Result<()>> + Send;

    /// All functions of all namespaces, by name.
    fn list(&self) -> impl Future<Output = Result<Vec<FunctionStatus>>> + Send;

    /// One function.
    fn status(&self, id: &FunctionId) -> impl Future<Output = Result<FunctionStatus>> + Send;

    /// Makes a function with this many replicas, fetching its image if need be.
    /// One that is there already is [`Error::Exists`].
    fn deploy(
        &self,
        id: &FunctionId,
        deployment: FunctionDeployment,
        replicas: u32,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Replaces a function by another of its name, with as many replicas. The
    /// old replicas go when the new ones answer.
    fn update(
        &self,
        id: &FunctionId,
        deployment: FunctionDeployment,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Ends a function and forgets it.
    fn delete(&self, id: &FunctionId) -> impl Future<Output = Result<()>> + Send;

    /// Changes the number of replicas; zero keeps the function.
    fn scale(&self, id: &FunctionId, replicas: u32) -> impl Future<Output = Result<()>> + Send;

    /// How it is called. Asked for every request, so it must be quick.
    fn route(&self, id: &FunctionId) -> impl Future<Output = Result<Route>> + Send;

    /// Says that an endpoint did not take a connection: what
    /// [`route`](Provider::route) remembers may be out of date.
    fn distrust(&self, id: &FunctionId);

    /// What the running replicas use together. It takes a while to measure.
    fn usage(&self, id: &FunctionId) -> impl Future<Output = Result<Usage>> + Send;

    /// What the replicas wrote. With `follow` it goes on with replicas that
    /// start later, and ends when the function, or what runs it, goes.
    fn logs(
        &self,
        id: &FunctionId,
        query: &logs::Query,
    ) -> impl Future<Output = Result<Lines>> + Send;

    /// The names of a namespace's secrets, in order.
    fn secrets(&self, namespace: &str) -> impl Future<Output = Result<Vec<String>>> + Send;

    /// Keeps a secret. One that is there already is [`Error::Exists`].
    fn create_secret(
        &self,
        namespace: &str,
        name: &str,
        value: &[u8],
    ) -> impl Future<Output = Result<()>> + Send;

    /// Gives a secret another value, also where functions see it.
    fn replace_secret(
        &self,
        namespace: &str,
        name: &str,
        value: &[u8],
    ) -> impl Future<Output = Result<()>> + Send;

    /// Whether a secret is there and has this value, in a time that does not
    /// depend on how much of it is right.
    fn is_secret(
        &self,
        namespace: &str,
        name: &str,
        value: &[u8],
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Forgets a secret. Functions that have it keep it until they are deployed
    /// anew.
    fn delete_secret(&self, namespace: &str, name: &str)
    -> impl Future<Output = Result<()>> + Send;

    /// Whether an image needs not be fetched.
    fn has_image(&self, image: &str) -> impl Future<Output = Result<bool>> + Send;

    /// Takes in the images of an archive, as `docker save` writes it.
    fn load_images(&self, archive: &Path) -> impl Future<Output = Result<()>> + Send;
}

/// How a function is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Where the running replicas are reached; none when it is scaled to zero.
    pub endpoints: Vec<SocketAddr>,
    /// Its annotations: some of them are rules for its calls.
    pub annotations: Arc<Map>,
}

/// What a provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub provider: String,
    /// What it runs functions with.
    pub orchestration: String,
    /// The version of that; empty when it cannot be asked.
    pub release: String,
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no such function or secret.
    NotFound,
    /// There is one already.
    Exists,
    /// What was asked for is impossible.
    Invalid(String),
    /// What runs the functions cannot be reached.
    Unavailable(String),
    /// It was tried, and failed.
    Failed(String),
}

/// What an operation of a provider gives.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such function"),
            Self::Exists => f.write_str("there is a function of this name already"),
            Self::Invalid(reason) | Self::Unavailable(reason) | Self::Failed(reason) => {
                f.write_str(reason)
            }
        }
    }
}

impl std::error::Error for Error {}

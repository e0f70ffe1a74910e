//! Functions over HTTP, compatible with the OpenFaaS API.

use std::{path::Path, process::ExitCode, sync::Arc};

use gateway::{
    api::{self, Gateway},
    auth::Credentials,
    config::Config,
    provider::docker::DockerProvider,
    scaling::scaler,
    seed, server,
};
use rubus_config::{
    paths,
    settings::{self, ImagePull, Settings, values::FunctionPath},
    view,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

fn main() -> ExitCode {
    let settings = view::read(Path::new(paths::OWN_SETTINGS)).unwrap_or_else(|error| {
        eprintln!("gateway: {error}; going on as if nothing were set");
        Settings::default()
    });
    let config = Config::read(|name| {
        let set = std::env::var(name).ok();
        set.or_else(|| variable(&settings.gateway, name))
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(config)),
        Err(error) => Err(format!("cannot start: {error}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gateway: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The settings of the node in the words of the contract's variables.
fn variable(settings: &settings::Gateway, name: &str) -> Option<String> {
    match name {
        "address" => settings.address.map(|it| it.to_string()),
        "port" => Some(settings.port.to_string()),
        "basic_auth" => Some(settings.basic_auth.to_string()),
        "autoscale" => Some(settings.autoscale.to_string()),
        "scale_from_zero" => Some(settings.scale_from_zero.to_string()),
        "max_body" => bytes(settings.max_body.as_str()).map(|bytes| bytes.to_string()),
        "max_requests" => Some(settings.max_requests.get().to_string()),
        "image_pull_policy" => Some(
            match settings.pull {
                ImagePull::Always => "Always",
                ImagePull::Missing => "IfNotPresent",
                ImagePull::Never => "Never",
            }
            .to_owned(),
        ),
        "devices" => Some(list(&settings.devices)),
        "folders" => Some(list(&settings.folders)),
        "rate_limit" => Some(settings.rate_limit.to_string()),
        "upstream_timeout" => Some(settings.timeout.as_str().to_owned()),
        _ => None,
    }
}

/// Paths of the settings, none of which has a comma.
fn list(paths: &[FunctionPath]) -> String {
    let paths: Vec<&str> = paths.iter().map(FunctionPath::as_str).collect();
    paths.join(",")
}

/// A size of the settings, whose units are powers of 1024 with a single letter.
fn bytes(size: &str) -> Option<u64> {
    let unit = size.trim_start_matches(|c: char| c.is_ascii_digit());
    let power = ["", "K", "M", "G", "T"].iter().position(|it| *it == unit)?;
    let number: u64 = size.strip_suffix(unit)?.parse().ok()?;
    number.checked_mul(1 << (10 * power))
}

async fn run(config: Config) -> Result<(), String> {
    let credentials = config
        .basic_auth
        .then(|| Credentials::load_or_make(&config.secrets))
        .transpose()?;
    let provider = Arc::new(DockerProvider::new(config.docker.clone()));
    let gateway = Arc::new(Gateway::new(Arc::clone(&provider), &config, credentials)?);
    let listener = server::listen(config.address, config.port).await?;
    let metrics_listener = server::listen(config.address, config.metrics_port).await?;
    if let Some(socket) = &config.health_socket {
        server::answer_health(socket)?;
    }

    let mut terminate = signal(SignalKind::terminate())
        .map_err(|error| format!("cannot wait for SIGTERM: {error}"))?;
    let (stop, stopped) = watch::channel(());
    tokio::spawn(async move {
        terminate.recv().await;
        drop(stop);
    });

    let watching = Arc::clone(&provider);
    tokio::spawn(async move { watching.watch().await });
    if config.autoscale {
        tokio::spawn(scaler::run(Arc::clone(&gateway)));
    }
    let seeding = config.clone();
    tokio::spawn(async move {
        let Config {
            namespace,
            functions,
            state,
            ..
        } = &seeding;
        seed::run(&*provider, namespace, functions, state).await;
    });

    let until = |mut stopped: watch::Receiver<()>| async move {
        // Ends with the sender.
        let _ = stopped.changed().await;
    };
    tokio::join!(
        server::serve(
            listener,
            api::router(Arc::clone(&gateway)),
            config.read_timeout,
            until(stopped.clone()),
        ),
        server::serve(
            metrics_listener,
            api::metrics_router(gateway),
            config.read_timeout,
            until(stopped),
        ),
    );
    Ok(())
}

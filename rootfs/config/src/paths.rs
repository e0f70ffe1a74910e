//! Where things are on a running device.
//!
//! Everything under `/usr` comes from the read-only system image; everything
//! under `/run` is memory; everything under [`DATA`] is the data partition.

/// The mounted slot (FAT, read-only): kernel, firmware and the system image.
pub const SLOT: &str = "/run/rubus/slot";
/// The system image inside a slot.
pub const SYSTEM_IMAGE: &str = "system.squashfs";
/// The data partition (ext4). `home`, `rubus`, `docker`, ... are its folders.
pub const DATA: &str = "/data";
/// State of the system services; a folder of [`DATA`], mounted here.
pub const STATE: &str = "/var/lib/rubus";

/// One folder a service: `service.json`, `config.json`, `rootfs/`.
pub const SERVICES: &str = "/usr/lib/rubus/services";
/// What the image says of itself, as [`crate::image::ImageInfo`] in JSON.
pub const IMAGE_INFO: &str = "/usr/share/rubus/image.json";
/// What programs of others call the system, as in `os-release(5)`.
pub const OS_RELEASE: &str = "/usr/lib/os-release";
/// The configuration that the image was built with, in TOML.
pub const IMAGE_CONFIG: &str = "/usr/share/rubus/config.toml";
/// Function images to load on first boot, and `functions.json`.
pub const FUNCTIONS: &str = "/usr/share/rubus/functions";
/// Compose files of services that are ready to be enabled.
pub const CATALOGUE: &str = "/usr/share/rubus/catalogue";
/// Compose files that were added on the node, for root only.
pub const COMPOSE: &str = "/var/lib/rubus/compose";
/// Services that were added on the node, for root only: one folder each, as
/// those of [`SERVICES`].
pub const OWN_SERVICES: &str = "/var/lib/rubus/services";
/// Where the user's engine listens.
pub const ENGINE_SOCKET: &str = "/run/rubus/docker/docker.sock";
/// The port of the engine's API for clients with certificates, as IANA has it.
pub const ENGINE_TCP_PORT: u16 = 2376;
/// The user and the password of the gateway's API, a file each.
pub const GATEWAY_CREDENTIALS: &str = "/var/lib/rubus/gateway/secrets";
/// The node's own authority, which signs the certificates of the engine and its
/// clients: certificate and key in PEM, for root only.
pub const TLS_AUTHORITY: &str = "/var/lib/rubus/tls/authority.pem";
/// The engine's certificate and key in PEM, for root only.
pub const TLS_ENGINE: &str = "/var/lib/rubus/tls/engine.pem";
/// Modules that `init` loads in the system root, one name a line.
pub const EARLY_MODULES: &str = "/usr/lib/rubus/modules-load";

/// Everything that Rubus keeps in memory.
pub const RUN: &str = "/run/rubus";
/// The merged configuration in JSON, readable by root only.
pub const CONFIG: &str = "/run/rubus/config.json";
/// What became of the layers of the configuration, as
/// [`crate::report::Report`] in JSON.
pub const CONFIG_REPORT: &str = "/run/rubus/config-report.json";
/// Settings on trial, as [`crate::trial::Trial`] in JSON, while there are any.
pub const TRIAL: &str = "/run/rubus/trial.json";
/// The first partition (FAT, read-only), while `init` reads the files of the
/// first boot from it.
pub const FIRST_BOOT: &str = "/run/rubus/first-boot";
/// Settings that were made on the node: [`USER_CONFIG`] and what came with the
/// first boot.
pub const USER_CONFIG_FOLDER: &str = "/var/lib/rubus/config";
/// What `ros config` wrote, a file of [`USER_CONFIG_FOLDER`], in TOML.
pub const USER_CONFIG: &str = "config.toml";
/// What the first boot brought, a file of [`USER_CONFIG_FOLDER`], in TOML.
pub const FIRST_BOOT_CONFIG: &str = "first-boot.toml";
/// The program that reads and renders the configuration.
pub const CONFIGURE: &str = "/usr/bin/configure";
/// The boot record: one [`crate::boot::Step`] in JSON a line.
pub const BOOT_RECORD: &str = "/run/rubus/boot.jsonl";
/// The last orphans that `init` reaped: one [`crate::reaped::Reaped`] in JSON a
/// line, the newest last; replaced as a whole.
pub const REAPED: &str = "/run/rubus/reaped.jsonl";
/// The runtime's API: HTTP and JSON on a unix socket, for root only.
pub const RUNTIME_SOCKET: &str = "/run/rubus/runtime.sock";
/// `--root` of the OCI runtime that runs system services.
pub const OCI_STATE: &str = "/run/rubus/crun";
/// Log rings, one pair of files a service.
pub const LOGS: &str = "/run/rubus/log";
/// The OCI runtime.
pub const OCI_RUNTIME: &str = "/usr/bin/crun";
/// The supervisor of system services, launched by `init`.
pub const SYSTEM_RUNTIME: &str = "/usr/bin/system-runtime";
/// What each service sees of the settings, one folder a service.
pub const SETTINGS: &str = "/run/rubus/settings";
/// Inside a service: the settings that its `service.toml` names, in JSON; see
/// [`crate::view`].
pub const OWN_SETTINGS: &str = "/run/settings/settings.json";

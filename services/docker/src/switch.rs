//! What is done around a switch to another engine: containers end in an orderly
//! way, and those that are to run again are looked for afterwards.

use std::{
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rubus_config::{files, paths::ENGINE_SOCKET};
use serde_json::{Map, Value, json};

use crate::{MERGED, api};

/// Which containers are to run again; here it outlives the engine, and does not
/// outlive the node.
const NOTE: &str = "/run/rubus/docker/switch.json";
/// Where dockerd writes its number unless it is told otherwise.
const PID_FILE: &str = "/var/run/docker.pid";
/// How long dockerd may take to read its configuration again.
const RELOAD_TIME: Duration = Duration::from_secs(30);
/// How long containers may take to run again: a small board starts them one
/// after the other.
const START_TIME: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(500);
/// So often in a row all have to run: one that ends at once did not come back.
const ROUNDS: u32 = 3;
/// So often in a row the engine has to say that it could not start any of those
/// that are missing; it does not try again.
const HOPELESS_ROUNDS: u32 = 20;

/// A container that is to run again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    id: String,
    name: String,
}

/// Notes which containers are to run again, and has the engine end its
/// containers when it is stopped: usually they live on.
pub(crate) fn drain(back: bool) -> Result<(), String> {
    // On the way back, what ran in the first place counts.
    if !back {
        write_note(&running()?)?;
    }
    end_containers_with_engine()
}

/// Waits until the containers that ran before run again.
pub(crate) fn gate(back: bool) -> Result<(), String> {
    let expected = read_note();
    let result = wait_for_all(&expected);
    if result.is_ok() || back {
        // It may have been none.
        let _ = fs::remove_file(NOTE);
    }
    if let Some(line) = result? {
        println!("{line}");
    }
    Ok(())
}

fn running() -> Result<Vec<Expected>, String> {
    let socket = Path::new(ENGINE_SOCKET);
    let list = api::get(socket, "/containers/json")?.unwrap_or_default();
    let mut expected = Vec::new();
    for container in list.as_array().into_iter().flatten() {
        let id = container["Id"].as_str().unwrap_or_default();
        // One that has ended meanwhile is none.
        if let Some(container) = api::get(socket, &format!("/containers/{id}/json"))? {
            expected.extend(is_expected(&container));
        }
    }
    Ok(expected)
}

/// What is to run again, of a container as the API describes it. One that keeps
/// ending would fail any engine; `on-failure` does not bring back what an engine
/// has stopped.
fn is_expected(container: &Value) -> Option<Expected> {
    let policy = container["HostConfig"]["RestartPolicy"]["Name"].as_str()?;
    let comes_back = matches!(policy, "always" | "unless-stopped");
    (comes_back && runs(container)).then(|| Expected {
        id: container["Id"].as_str().unwrap_or_default().to_owned(),
        name: container["Name"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
    })
}

fn runs(container: &Value) -> bool {
    let state = &container["State"];
    state["Running"] == true && state["Restarting"] != true
}

fn write_note(expected: &[Expected]) -> Result<(), String> {
    let list: Vec<Value> = expected
        .iter()
        .map(|it| json!({ "id": it.id, "name": it.name }))
        .collect();
    files::replace_lazily(Path::new(NOTE), json!(list).to_string().as_bytes(), 0o600)
        .map_err(|error| format!("cannot write {NOTE}: {error}"))
}

fn read_note() -> Vec<Expected> {
    let text = fs::read(NOTE).unwrap_or_default();
    let list: Vec<Map<String, Value>> = serde_json::from_slice(&text).unwrap_or_default();
    let word = |it: &Map<String, Value>, key: &str| {
        it.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    list.iter()
        .map(|it| Expected {
            id: word(it, "id"),
            name: word(it, "name"),
        })
        .collect()
}

/// Turns `live-restore` off in the engine that runs. What starts next reads the
/// image's configuration again.
fn end_containers_with_engine() -> Result<(), String> {
    let before = fs::read(MERGED).map_err(|error| format!("cannot read {MERGED}: {error}"))?;
    let mut merged: Map<String, Value> = serde_json::from_slice(&before)
        .map_err(|error| format!("cannot understand {MERGED}: {error}"))?;
    let pid_file = merged
        .get("pidfile")
        .and_then(Value::as_str)
        .unwrap_or(PID_FILE)
        .to_owned();
    let pid: i32 = fs::read_to_string(&pid_file)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .ok_or_else(|| format!("{pid_file} does not tell which process dockerd is"))?;
    merged.insert("live-restore".to_owned(), Value::Bool(false));
    let text = serde_json::to_vec_pretty(&merged).map_err(|error| error.to_string())?;
    let write = |text: &[u8]| {
        fs::write(MERGED, text).map_err(|error| format!("cannot write {MERGED}: {error}"))
    };
    write(&text)?;
    let reloaded = reload(pid);
    if reloaded.is_err() {
        // It goes on as it was.
        write(&before)?;
        let _ = kill(Pid::from_raw(pid), Signal::SIGHUP);
    }
    reloaded
}

fn reload(pid: i32) -> Result<(), String> {
    kill(Pid::from_raw(pid), Signal::SIGHUP)
        .map_err(|error| format!("cannot reload dockerd: {error}"))?;
    let end = Instant::now() + RELOAD_TIME;
    loop {
        let info = api::get(Path::new(ENGINE_SOCKET), "/info")?.unwrap_or_default();
        if info["LiveRestoreEnabled"] == false {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err("dockerd does not turn live-restore off".to_owned());
        }
        sleep(PAUSE);
    }
}

/// Returns what is to be said when all run; an error names those that do not.
fn wait_for_all(expected: &[Expected]) -> Result<Option<String>, String> {
    if expected.is_empty() {
        return Ok(None);
    }
    let end = Instant::now() + START_TIME;
    let (mut good, mut hopeless) = (0, 0);
    loop {
        let missing = look(expected)?;
        let refused = missing.iter().all(|it| it.refused);
        match (missing.is_empty(), refused) {
            (true, _) => (good, hopeless) = (good + 1, 0),
            (false, true) => (good, hopeless) = (0, hopeless + 1),
            (false, false) => (good, hopeless) = (0, 0),
        }
        let count = expected.len();
        if good == ROUNDS {
            return Ok(Some(format!("{count} of {count} containers run again")));
        }
        if Instant::now() >= end || hopeless == HOPELESS_ROUNDS {
            return Err(complaint(count, &missing));
        }
        sleep(PAUSE);
    }
}

/// A container that does not run.
#[derive(Debug, PartialEq, Eq)]
struct Missing {
    name: String,
    why: String,
    /// Whether the engine could not start it.
    refused: bool,
}

fn look(expected: &[Expected]) -> Result<Vec<Missing>, String> {
    let mut missing = Vec::new();
    for Expected { id, name } in expected {
        let container = api::get(Path::new(ENGINE_SOCKET), &format!("/containers/{id}/json"))?;
        missing.extend(is_missing(name, container.as_ref()));
    }
    Ok(missing)
}

/// Why a container does not run, if it does not; the engine may not know it.
fn is_missing(name: &str, container: Option<&Value>) -> Option<Missing> {
    let (why, refused) = match container {
        Some(container) if runs(container) => return None,
        None => ("the engine does not know it".to_owned(), true),
        Some(container) => {
            let state = &container["State"];
            match state["Error"].as_str().filter(|it| !it.is_empty()) {
                Some(error) => (error.replace('\n', " "), state["Restarting"] != true),
                None => {
                    let status = state["Status"].as_str().unwrap_or("not running");
                    (
                        format!("{status}, exit status {}", state["ExitCode"]),
                        false,
                    )
                }
            }
        }
    };
    Some(Missing {
        name: name.to_owned(),
        why,
        refused,
    })
}

fn complaint(count: usize, missing: &[Missing]) -> String {
    let names: Vec<String> = missing
        .iter()
        .map(|it| format!("{} ({})", it.name, it.why))
        .collect();
    format!(
        "{} of {count} containers run again; not {}",
        count - missing.len(),
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(policy: &str, running: bool, restarting: bool) -> Value {
        json!({
            "Id": "c0ffee",
            "Name": "/web",
            "HostConfig": { "RestartPolicy": { "Name": policy, "MaximumRetryCount": 0 } },
            "State": {
                "Status": "exited", "Running": running, "Restarting": restarting,
                "ExitCode": 3, "Error": "",
            },
        })
    }

    #[test]
    fn only_what_a_policy_brings_back_is_expected() {
        let web = Some(Expected {
            id: "c0ffee".into(),
            name: "web".into(),
        });
        assert_eq!(is_expected(&container("always", true, false)), web);
        assert_eq!(is_expected(&container("unless-stopped", true, false)), web);
        for policy in ["no", "", "on-failure"] {
            assert_eq!(is_expected(&container(policy, true, false)), None);
        }
        assert_eq!(is_expected(&container("always", false, false)), None);
        assert_eq!(is_expected(&container("always", true, true)), None);
        assert_eq!(is_expected(&json!({})), None);
    }

    #[test]
    fn what_does_not_run_is_named_with_the_reason() {
        let why = |container: &Value| {
            let missing = is_missing("web", Some(container)).unwrap();
            (missing.why, missing.refused)
        };
        let mut web = container("always", false, false);
        assert_eq!(why(&web), ("exited, exit status 3".to_owned(), false));
        web["State"]["Error"] = json!("no such\nruntime");
        assert_eq!(why(&web), ("no such runtime".to_owned(), true));
        web["State"]["Restarting"] = json!(true);
        assert!(!why(&web).1, "the engine tries again");
        assert_eq!(
            is_missing("web", Some(&container("always", true, false))),
            None
        );
        let missing = is_missing("web", None).unwrap();
        assert_eq!(
            complaint(3, &[missing]),
            "2 of 3 containers run again; not web (the engine does not know it)"
        );
    }
}

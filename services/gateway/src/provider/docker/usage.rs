//! What containers use, measured by the engine.

use bollard::{
    Docker, errors::Error as DockerError, models::ContainerStatsResponse,
    query_parameters::StatsOptionsBuilder,
};
use futures_util::{StreamExt, future::join_all};

use crate::{
    model::Usage,
    provider::{Error, Result},
};

/// Measures containers, which takes the engine a second or two. One that went
/// meanwhile uses nothing.
pub(super) async fn measure(client: &Docker, containers: &[String]) -> Result<Usage> {
    let each = join_all(containers.iter().map(|container| one(client, container))).await;
    let mut total = Usage::default();
    for usage in each {
        let usage = usage?;
        total.cpu += usage.cpu;
        total.memory += usage.memory;
    }
    Ok(total)
}

async fn one(client: &Docker, container: &str) -> Result<Usage> {
    let options = StatsOptionsBuilder::default().stream(false).build();
    let mut stats = Box::pin(client.stats(container, Some(options)));
    match stats.next().await {
        None
        | Some(Err(DockerError::DockerResponseServerError {
            status_code: 404, ..
        })) => Ok(Usage::default()),
        Some(Ok(stats)) => Ok(read(&stats)),
        Some(Err(error)) => Err(Error::Failed(format!("cannot measure: {error}"))),
    }
}

/// The share of the time between two looks of the engine, and the memory
/// without the page cache that can be had back, as `docker stats` shows it.
fn read(stats: &ContainerStatsResponse) -> Usage {
    let total = |cpu: &Option<bollard::models::ContainerCpuStats>| {
        let cpu = cpu.as_ref()?;
        let used = cpu.cpu_usage.as_ref()?.total_usage?;
        Some((used, cpu.system_cpu_usage?, cpu.online_cpus.unwrap_or(1)))
    };
    let cpu = match (total(&stats.precpu_stats), total(&stats.cpu_stats)) {
        (Some((used, system, _)), Some((used_now, system_now, processors)))
            if system_now > system =>
        {
            let share = used_now.saturating_sub(used) as f64 / (system_now - system) as f64;
            share * f64::from(processors) * 1000.0
        }
        _ => 0.0,
    };
    let memory = stats.memory_stats.as_ref().map_or(0, |memory| {
        let inactive = memory
            .stats
            .as_ref()
            .and_then(|stats| stats.get("inactive_file"))
            .copied()
            .unwrap_or_default();
        memory.usage.unwrap_or_default().saturating_sub(inactive)
    });
    Usage {
        cpu,
        memory: memory as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_the_time_between_two_looks() {
        let stats = |text: &str| serde_json::from_str(text).unwrap();
        let half_of_two = r#"{
            "precpu_stats": {"cpu_usage": {"total_usage": 1000}, "system_cpu_usage": 100000},
            "cpu_stats": {"cpu_usage": {"total_usage": 6000}, "system_cpu_usage": 120000,
                          "online_cpus": 2},
            "memory_stats": {"usage": 5000, "stats": {"inactive_file": 1000}}}"#;
        let expected = Usage {
            cpu: 500.0,
            memory: 4000.0,
        };
        assert_eq!(read(&stats(half_of_two)), expected);
        // The first look at a container that has just started, or none at all.
        let first = r#"{"precpu_stats": {"cpu_usage": {"total_usage": 0}},
            "cpu_stats": {"cpu_usage": {"total_usage": 5}, "system_cpu_usage": 9}}"#;
        assert_eq!(read(&stats(first)), Usage::default());
        assert_eq!(read(&stats("{}")), Usage::default());
    }
}

//! Reading YAML that anybody may have written.

use serde_json::Value;
use serde_saphyr::{Options, budget, options};

use super::MOST_BYTES;

/// Reads one document. Its size, depth, number of nodes and what aliases may
/// expand to are bounded.
///
/// # Errors
/// What is wrong with it, and the line.
pub(super) fn parse(content: &[u8]) -> Result<Value, String> {
    if content.len() > MOST_BYTES {
        return Err(format!("it is larger than {} KiB", MOST_BYTES >> 10));
    }
    let text = std::str::from_utf8(content).map_err(|_| "it is no text in UTF-8".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_saphyr::from_str_with_options(text, limits()).map_err(|error| {
        let place = error
            .location()
            .map_or_else(String::new, |it| format!("line {}: ", it.line()));
        // Its own words begin with the place too, and may repeat the text.
        let words = error.without_snippet().to_string();
        let words = words.lines().next().unwrap_or_default();
        format!("{place}it is not YAML: {words}")
    })
}

fn limits() -> Options {
    options! {
        budget: budget! {
            max_reader_input_bytes: Some(MOST_BYTES),
            max_events: 100_000,
            max_aliases: 100,
            max_anchors: 100,
            max_depth: 32,
            max_documents: 1,
            max_nodes: 50_000,
            max_total_scalar_bytes: MOST_BYTES,
            max_merge_keys: 100,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 20_000,
            max_replay_stack_depth: 8,
            max_alias_expansions_per_anchor: 100,
        },
        // As YAML 1.1 has it, which cloud-init reads: `0644` is not 644.
        leading_zero_numbers_as_strings: true,
        with_snippet: false,
    }
}

/// Text, also when it looks like something else (`hostname: 123`).
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A list, or one item as a list of one.
pub(super) fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

/// A value in words.
pub(super) fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        Value::Number(number) => number.as_u64().map(|it| it != 0),
        _ => None,
    }
}

//! Values as people type them and read them.

use rubus_service::suggest;
use serde_json::Value;

use super::Entry;

impl<'a> Entry<'a> {
    /// Reads a value from the command line by the type of the key. Text is
    /// taken as it is; a list or a table is written as in TOML; a list of one
    /// may be written as that one.
    ///
    /// # Errors
    /// What the value should be.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        if let Some(items) = self.items() {
            if text.starts_with('[') {
                return toml_value(text);
            }
            return Ok(Value::Array(vec![self.with(items).parse(text)?]));
        }
        if self.is_table() {
            if text.starts_with('{') {
                return toml_value(text);
            }
            return Err(
                "it is a table; set one of its keys, or write it as in '{ key = \"value\" }'"
                    .to_owned(),
            );
        }
        if self.choices().is_some_and(|it| !it.contains(&text)) {
            return Err(self.not_a_choice(text));
        }
        let types = self.types();
        let has = |name: &str| types.contains(&name);
        if has("string") {
            // A command is text or a list.
            if has("array") && text.starts_with('[') {
                return toml_value(text);
            }
            return Ok(Value::from(text));
        }
        if has("integer") {
            let number: i64 = text
                .trim()
                .parse()
                .map_err(|_| format!("{text:?} is not a number; give {}", self.kind()))?;
            return Ok(Value::from(number));
        }
        if has("boolean") {
            return match text.trim() {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(format!("{text:?} is neither true nor false")),
            };
        }
        // Anything, such as a key of `docker.daemon`.
        Ok(toml_value(text).unwrap_or_else(|_| Value::from(text)))
    }

    /// Reads several values: the items of a list.
    ///
    /// # Errors
    /// When the key takes one value, or an item is wrong.
    pub fn parse_all(self, texts: &[String]) -> Result<Value, String> {
        match (texts, self.items()) {
            ([one], _) => self.parse(one),
            (many, Some(items)) => many
                .iter()
                .map(|text| self.with(items).parse(text))
                .collect::<Result<Vec<_>, _>>()
                .map(Value::Array),
            _ => Err("it takes one value; quote what has spaces in it".to_owned()),
        }
    }

    /// The values of a key that has a few, for completions.
    pub fn values(self) -> Vec<String> {
        if let Some(choices) = self.choices() {
            return choices.into_iter().map(str::to_owned).collect();
        }
        if self.types().contains(&"boolean") {
            return vec!["false".to_owned(), "true".to_owned()];
        }
        Vec::new()
    }

    /// What kind of value it takes, in words: `number from 1 to 15`.
    pub fn kind(self) -> String {
        if let Some(choices) = self.choices() {
            let quoted: Vec<String> = choices.iter().map(|it| format!("{it:?}")).collect();
            return quoted.join(", ");
        }
        if let Some(items) = self.items() {
            return format!("list of: {}", self.with(items).kind());
        }
        if self.is_table() {
            return "table".to_owned();
        }
        let definition = self.definition();
        if let Some(format) = definition["format"].as_str()
            && self.types().contains(&"string")
        {
            return match format {
                "ip" => "IP address",
                "ipv4" => "IPv4 address",
                "ipv6" => "IPv6 address",
                other => other,
            }
            .to_owned();
        }
        let types = self.types();
        match types[..] {
            ["string", "array"] => "command".to_owned(),
            ["string", ..] => "text".to_owned(),
            ["boolean", ..] => "true or false".to_owned(),
            ["integer", ..] => match self.bounds() {
                Some((least, most)) => format!("number from {least} to {most}"),
                None => "number".to_owned(),
            },
            _ => "any value".to_owned(),
        }
    }

    /// Checks a value and everything in it against the schema: unknown keys,
    /// and values of the wrong type.
    ///
    /// # Errors
    /// The parts of the key that is wrong, and what is wrong with it.
    pub fn check(self, value: &Value) -> Result<(), (Vec<String>, String)> {
        let below = |part: &str, (mut parts, message): (Vec<String>, String)| {
            parts.insert(0, part.to_owned());
            (parts, message)
        };
        match value {
            Value::Object(table) if self.is_table() => {
                for (name, value) in table {
                    let Some(entry) = self.child(name) else {
                        let hint = suggest::hint(name, self.fields());
                        let message = format!("there is no such key{hint}");
                        return Err((vec![name.clone()], message));
                    };
                    entry.check(value).map_err(|error| below(name, error))?;
                }
                Ok(())
            }
            Value::Array(list) if self.items().is_some() => {
                for (i, value) in list.iter().enumerate() {
                    let i = i.to_string();
                    if let Some(entry) = self.child(&i) {
                        entry.check(value).map_err(|error| below(&i, error))?;
                    }
                }
                Ok(())
            }
            Value::String(text) if self.choices().is_some_and(|it| !it.contains(&&**text)) => {
                Err((Vec::new(), self.not_a_choice(text)))
            }
            Value::Number(number) if self.is_out_of_range(number) => {
                Err((Vec::new(), self.out_of_range(number)))
            }
            _ if self.takes(value) => Ok(()),
            _ => Err((
                Vec::new(),
                format!("this is {}; give {}", name_of(value), self.kind()),
            )),
        }
    }

    pub(super) fn is_table(self) -> bool {
        !self.fields().is_empty() || self.additional().is_some()
    }

    /// The least and the most that a number may be.
    fn bounds(self) -> Option<(i64, i64)> {
        let bound = |name: &str| self.definition()[name].as_i64();
        Some((bound("minimum")?, bound("maximum")?))
    }

    fn is_out_of_range(self, number: &serde_json::Number) -> bool {
        self.bounds().is_some_and(|(least, most)| {
            number
                .as_i64()
                .is_none_or(|number| !(least..=most).contains(&number))
        })
    }

    fn out_of_range(self, number: &serde_json::Number) -> String {
        let (least, most) = self.bounds().unwrap_or_default();
        format!("{number} is out of range; use {least} to {most}")
    }

    fn takes(self, value: &Value) -> bool {
        let types = self.types();
        let name = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        types.is_empty() || types.contains(&name)
    }

    /// The types of JSON that it may have; none when it may have any.
    fn types(self) -> Vec<&'static str> {
        const TYPES: [&str; 6] = ["string", "integer", "boolean", "array", "object", "number"];
        let definition = self.definition();
        let mut found = Vec::new();
        let mut add = |value: &Value| {
            let named = TYPES.iter().filter(|it| *value == **it);
            found.extend(named.copied());
        };
        match &definition["type"] {
            Value::Array(types) => types.iter().for_each(&mut add),
            single => add(single),
        }
        for choice in definition["anyOf"].as_array().into_iter().flatten() {
            add(&choice["type"]);
        }
        if self.choices().is_some() {
            found.push("string");
        }
        found
    }

    /// The words that it may be, when it is one of a few.
    fn choices(self) -> Option<Vec<&'a str>> {
        let choices = self.definition()["oneOf"].as_array()?;
        choices.iter().map(|it| it["const"].as_str()).collect()
    }

    fn not_a_choice(self, text: &str) -> String {
        let choices = self.choices().unwrap_or_default();
        let hint = suggest::hint(text, choices);
        format!("{text:?} is none of {}{hint}", self.kind())
    }
}

/// The value in the form of TOML; nothing for what says nothing.
pub(super) fn to_toml(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Array(list) if list.is_empty() => None,
        Value::Object(table) if table.is_empty() => None,
        other => Some(other.to_string()),
    }
}

/// A value as TOML writes it.
fn toml_value(text: &str) -> Result<Value, String> {
    let document = format!("value = {text}");
    let mut table: serde_json::Map<String, Value> =
        toml::from_str(&document).map_err(|error: toml::de::Error| {
            format!("{text:?} is not a value of TOML: {}", error.message())
        })?;
    table
        .remove("value")
        .filter(|_| table.is_empty())
        .ok_or_else(|| format!("{text:?} is more than one value"))
}

/// A value in words.
fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

//! The configuration file: TOML, flattened.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// What a file holds.
#[derive(Default)]
pub(super) struct Contents {
    /// Dotted key and value, as text.
    pub(super) values: Vec<(String, String)>,
    /// Arrays of tables, by name.
    pub(super) tables: BTreeMap<String, Vec<Table>>,
    /// Keys with something else than a single value.
    pub(super) misplaced: Vec<String>,
}

/// Reads a file; `allowed` names its arrays of tables. An error is the line and what is wrong.
pub(super) fn read(text: &str, allowed: &[&str]) -> Result<Contents, (usize, String)> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let before = text.as_bytes().iter().take(start);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        (line, error.message().to_owned())
    })?;
    let mut contents = Contents::default();
    for (key, value) in table {
        match tables(&value) {
            Some(tables) if allowed.contains(&key.as_str()) => {
                contents.tables.insert(key, tables);
            }
            _ => flatten(key, value, &mut contents),
        }
    }
    Ok(contents)
}

fn tables(value: &Value) -> Option<Vec<Table>> {
    value
        .as_array()?
        .iter()
        .map(|item| item.as_table().cloned())
        .collect()
}

fn flatten(key: String, value: Value, into: &mut Contents) {
    let text = match value {
        Value::String(text) => text,
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(time) => time.to_string(),
        Value::Array(_) => {
            into.misplaced.push(key);
            return;
        }
        Value::Table(table) => {
            for (name, value) in table {
                flatten(format!("{key}.{name}"), value, into);
            }
            return;
        }
    };
    into.values.push((key, text));
}

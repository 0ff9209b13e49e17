//! What can be wrong with a configuration, in words that lead to the place.

use std::fmt;
use std::path::PathBuf;

use super::Source;

/// A configuration that cannot be used, with everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The value is not one the setting's kind allows.
    #[error("{key} = {value:?} (from {from}) is not allowed: expected {allowed}")]
    NotAllowed {
        /// The setting.
        key: &'static str,
        /// The value; masked if it is secret.
        value: String,
        /// Where the value came from.
        from: Source,
        /// What is allowed.
        allowed: String,
    },
    /// The value is less than that of another setting, which its meaning forbids.
    #[error(
        "{key} = {value:?} (from {from}) must not be less than {floor} = {least:?} (from {floor_from})"
    )]
    LessThan {
        /// The setting.
        key: &'static str,
        /// Its value.
        value: String,
        /// Where the value came from.
        from: Source,
        /// The setting it must not be less than.
        floor: &'static str,
        /// That one's value.
        least: String,
        /// Where that value came from.
        floor_from: Source,
    },
    /// The setting is of no use without another.
    #[error("{key} (from {from}) is given, but {other} is not: give both, or neither")]
    Needs {
        /// The setting.
        key: &'static str,
        /// Where its value came from.
        from: Source,
        /// The setting it needs.
        other: &'static str,
    },
    /// No setting has this key.
    #[error("{key} (from {from}) is not a setting{}", did_you_mean(.nearest))]
    Unknown {
        /// As it was written.
        key: String,
        /// Where it was written.
        from: Source,
        /// The setting that was probably meant.
        nearest: Option<String>,
    },
    /// A list or a group of tables stands where a single value belongs.
    #[error(
        "{key} (from {from}) is a list; a setting is a single value, and no tables of this name are known"
    )]
    NotAValue {
        /// As it was written.
        key: String,
        /// Where it was written.
        from: Source,
    },
    /// The file cannot be read as TOML.
    #[error("{path}, line {line}: {cause}", path = path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What TOML says; it repeats nothing of the file, which may hold secrets.
        cause: String,
    },
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |nearest| format!("; did you mean {nearest}?"))
}

/// The known key that takes the fewest edits to reach; none if nearly everything would change.
pub(super) fn nearest<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> Option<String> {
    known
        .map(|candidate| (edits(key, candidate), candidate))
        .min()
        .filter(|(edits, candidate)| edits * 2 <= candidate.len().max(key.len()))
        .map(|(_, candidate)| candidate.to_owned())
}

/// Levenshtein's distance.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, from_char) in from.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to_char) in to.iter().enumerate() {
            let substituted = diagonal + usize::from(from_char != *to_char);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

//! Settings: one flat, declared table; values from defaults, a file, the environment and flags.
//!
//! A service declares its [`Setting`]s as a constant. [`Values::load`] puts the layers upon each
//! other, later ones winning: default, TOML file (nested tables give dotted keys), environment
//! (`sender.call_timeout` is `PABAL_SENDER_CALL_TIMEOUT`), flags (`--set key=value`). Everything is
//! checked at once, and every mistake is told with its key, value, source and what is allowed.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

mod error;
mod file;
mod setting;
#[cfg(test)]
mod tests;

pub use error::{ConfigError, Problem};
pub use setting::{Kind, MASK, Setting, markdown_table, mask_url};

use setting::Parsed;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The setting's default.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// This environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// One setting as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Its key.
    pub key: &'static str,
    /// Its value; secrets masked, empty if it is optional and not given.
    pub value: String,
    /// Where the value came from.
    pub source: Source,
}

/// Settings that were read and checked.
#[derive(Clone)]
pub struct Values {
    settings: BTreeMap<&'static str, Entry>,
    tables: BTreeMap<String, Vec<toml::Table>>,
}

#[derive(Clone)]
struct Entry {
    setting: &'static Setting,
    text: String,
    parsed: Parsed,
    source: Source,
}

impl Values {
    /// Puts the layers upon each other.
    ///
    /// `tables` are the names of arrays of tables the file may have beside the settings
    /// (`[[route]]`). `env` is the whole environment or a part of it; only `PABAL_…` is looked at,
    /// and the caller leaves out what it reads itself. `flags` are key and value.
    ///
    /// # Errors
    /// [`ConfigError`] with every mistake: a value its kind does not allow, a required one left
    /// empty, an unknown key in any layer, a file that is not TOML.
    pub fn load(
        settings: &[&'static [Setting]],
        tables: &[&str],
        file: Option<(PathBuf, String)>,
        env: impl Iterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        Self::load_part(settings, &[], tables, file, env, flags)
    }

    /// The same for a process that declares a part of the settings: one whose first word is among
    /// `elsewhere` is another's, who checks it, and is passed over.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_part(
        settings: &[&'static [Setting]],
        elsewhere: &'static [&'static str],
        tables: &[&str],
        file: Option<(PathBuf, String)>,
        env: impl Iterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let mut layers = Layers::new(settings, elsewhere);
        let tables = match file {
            Some((path, text)) => layers.file(&path, &text, tables),
            None => BTreeMap::new(),
        };
        layers.environment(env);
        layers.flags(flags);
        layers.finish(tables)
    }

    /// A duration.
    pub fn duration(&self, key: &str) -> Duration {
        self.required(key, Parsed::duration)
    }

    /// Checks that the duration `key` is not less than the duration `floor`.
    ///
    /// # Errors
    /// [`ConfigError`] with both.
    pub fn check_not_less(&self, key: &str, floor: &str) -> Result<(), ConfigError> {
        if self.duration(key) >= self.duration(floor) {
            return Ok(());
        }
        let (value, least) = (self.entry(key), self.entry(floor));
        Err(ConfigError {
            problems: vec![Problem::LessThan {
                key: value.setting.key,
                value: value.text.clone(),
                from: value.source.clone(),
                floor: least.setting.key,
                least: least.text.clone(),
                floor_from: least.source.clone(),
            }],
        })
    }

    /// That the value of `key` is not one that its meaning allows; `allowed` says what is.
    pub fn not_allowed(&self, key: &str, allowed: impl Into<String>) -> Problem {
        let entry = self.entry(key);
        Problem::NotAllowed {
            key: entry.setting.key,
            value: entry.setting.kind.shown(&entry.text),
            from: entry.source.clone(),
            allowed: allowed.into(),
        }
    }

    /// That `key` is of no use unless `other` is given too.
    pub fn needs(&self, key: &str, other: &str) -> Problem {
        let entry = self.entry(key);
        Problem::Needs {
            key: entry.setting.key,
            from: entry.source.clone(),
            other: self.entry(other).setting.key,
        }
    }

    /// The value of `key` as it may be shown: secrets masked.
    pub fn shown(&self, key: &str) -> String {
        let entry = self.entry(key);
        entry.setting.kind.shown(&entry.text)
    }

    /// Where the value of `key` is from.
    pub fn source(&self, key: &str) -> &Source {
        &self.entry(key).source
    }

    /// A count.
    pub fn count(&self, key: &str) -> u64 {
        self.required(key, Parsed::count)
    }

    /// A number of bytes.
    pub fn bytes(&self, key: &str) -> u64 {
        self.required(key, Parsed::bytes)
    }

    /// A flag.
    pub fn flag(&self, key: &str) -> bool {
        self.required(key, Parsed::flag)
    }

    /// A text, or one of the words of a choice.
    pub fn text(&self, key: &str) -> &str {
        self.required(key, Parsed::text)
    }

    /// One of the words of a choice.
    pub fn choice(&self, key: &str) -> &str {
        self.text(key)
    }

    /// A secret.
    pub fn secret(&self, key: &str) -> SecretString {
        self.required(key, Parsed::secret)
    }

    /// A path.
    pub fn path(&self, key: &str) -> &Path {
        self.required(key, Parsed::path)
    }

    /// An address to listen on.
    pub fn address(&self, key: &str) -> SocketAddr {
        self.required(key, Parsed::address)
    }

    /// A URL, as it was given.
    pub fn url(&self, key: &str) -> &str {
        self.required(key, Parsed::url)
    }

    /// A duration that need not be given.
    pub fn optional_duration(&self, key: &str) -> Option<Duration> {
        self.optional(key, Parsed::duration)
    }

    /// A count that need not be given.
    pub fn optional_count(&self, key: &str) -> Option<u64> {
        self.optional(key, Parsed::count)
    }

    /// A text that need not be given.
    pub fn optional_text(&self, key: &str) -> Option<&str> {
        self.optional(key, Parsed::text)
    }

    /// A secret that need not be given.
    pub fn optional_secret(&self, key: &str) -> Option<SecretString> {
        self.optional(key, Parsed::secret)
    }

    /// A path that need not be given.
    pub fn optional_path(&self, key: &str) -> Option<&Path> {
        self.optional(key, Parsed::path)
    }

    /// An address that need not be given.
    pub fn optional_address(&self, key: &str) -> Option<SocketAddr> {
        self.optional(key, Parsed::address)
    }

    /// A URL that need not be given.
    pub fn optional_url(&self, key: &str) -> Option<&str> {
        self.optional(key, Parsed::url)
    }

    /// The file's tables of this name (`[[route]]`), in order.
    pub fn tables(&self, name: &str) -> &[toml::Table] {
        self.tables.get(name).map_or(&[], Vec::as_slice)
    }

    /// Every setting as it is in force, in the order of the keys.
    pub fn effective(&self) -> Vec<Effective> {
        self.settings
            .iter()
            .map(|(key, entry)| Effective {
                key,
                value: entry.setting.kind.shown(&entry.text),
                source: entry.source.clone(),
            })
            .collect()
    }

    #[expect(
        clippy::expect_used,
        reason = "a setting is read only by whoever declares it, with its kind; a test that loads \
                  the defaults and builds the configuration finds a mistake"
    )]
    fn required<'v, T>(&'v self, key: &str, read: fn(&'v Parsed) -> Option<T>) -> T {
        self.optional(key, read)
            .expect("only an optional setting may be without a value, and it has its own getters")
    }

    #[expect(
        clippy::expect_used,
        reason = "as above: a wrong key or kind is a mistake in the program, not in its input"
    )]
    fn optional<'v, T>(&'v self, key: &str, read: fn(&'v Parsed) -> Option<T>) -> Option<T> {
        let entry = self.entry(key);
        if matches!(entry.parsed, Parsed::Nothing) {
            return None;
        }
        Some(read(&entry.parsed).expect("a setting is read as the kind it is declared with"))
    }

    #[expect(
        clippy::expect_used,
        reason = "as above: a wrong key is a mistake in the program, not in its input"
    )]
    fn entry(&self, key: &str) -> &Entry {
        self.settings
            .get(key)
            .expect("a setting is declared before it is read")
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.effective().iter().map(|e| (e.key, &e.value)))
            .finish()
    }
}

/// The layers while they are laid.
struct Layers {
    settings: BTreeMap<&'static str, &'static Setting>,
    /// First words of settings that are declared elsewhere.
    elsewhere: &'static [&'static str],
    values: BTreeMap<&'static str, (String, Source)>,
    problems: Vec<Problem>,
}

impl Layers {
    fn new(settings: &[&'static [Setting]], elsewhere: &'static [&'static str]) -> Self {
        let settings: BTreeMap<_, _> = settings
            .iter()
            .flat_map(|part| part.iter())
            .map(|setting| (setting.key, setting))
            .collect();
        let values = settings
            .values()
            .map(|setting| (setting.key, (setting.default.to_owned(), Source::Default)))
            .collect();
        Self {
            settings,
            elsewhere,
            values,
            problems: Vec::new(),
        }
    }

    fn file(
        &mut self,
        path: &Path,
        text: &str,
        allowed: &[&str],
    ) -> BTreeMap<String, Vec<toml::Table>> {
        let source = Source::File(path.to_owned());
        match file::read(text, allowed) {
            Ok(contents) => {
                for (key, value) in contents.values {
                    self.set(&key, value, source.clone());
                }
                for key in contents.misplaced {
                    self.problems.push(Problem::NotAValue {
                        key,
                        from: source.clone(),
                    });
                }
                contents.tables
            }
            Err((line, cause)) => {
                self.problems.push(Problem::NotToml {
                    path: path.to_owned(),
                    line,
                    cause,
                });
                BTreeMap::new()
            }
        }
    }

    fn environment(&mut self, env: impl Iterator<Item = (String, String)>) {
        let keys: BTreeMap<String, &'static str> = self
            .settings
            .values()
            .map(|setting| (setting.variable(), setting.key))
            .collect();
        debug_assert_eq!(
            keys.len(),
            self.settings.len(),
            "two settings share an environment variable"
        );
        for (name, value) in env {
            if !name.starts_with("PABAL_") || is_service_link(&name, &value) {
                continue;
            }
            match keys.get(&name) {
                Some(key) => self.set(key, value, Source::Environment(name)),
                None if self.is_elsewheres_variable(&name) => {}
                None => self.problems.push(Problem::Unknown {
                    nearest: error::nearest(&name, keys.keys().map(String::as_str)),
                    from: Source::Environment(name.clone()),
                    key: name,
                }),
            }
        }
    }

    fn flags(&mut self, flags: &[(String, String)]) {
        for (key, value) in flags {
            self.set(key, value.clone(), Source::Flag);
        }
    }

    fn set(&mut self, key: &str, value: String, source: Source) {
        match self.settings.get_key_value(key) {
            Some((key, _)) => {
                self.values.insert(key, (value, source));
            }
            None if self.is_elsewheres(key) => {}
            None => self.problems.push(Problem::Unknown {
                key: key.to_owned(),
                nearest: error::nearest(key, self.settings.keys().copied()),
                from: source,
            }),
        }
    }

    fn is_elsewheres(&self, key: &str) -> bool {
        key.split_once('.')
            .is_some_and(|(word, _)| self.elsewhere.contains(&word))
    }

    fn is_elsewheres_variable(&self, name: &str) -> bool {
        self.elsewhere.iter().any(|word| {
            let begins = format!("PABAL_{}_", word.to_ascii_uppercase());
            name.starts_with(&begins)
        })
    }

    fn finish(mut self, tables: BTreeMap<String, Vec<toml::Table>>) -> Result<Values, ConfigError> {
        let mut settings = BTreeMap::new();
        for (key, (text, source)) in self.values {
            let Some(setting) = self.settings.get(key).copied() else {
                continue;
            };
            match setting.parse(&text) {
                Some(parsed) => {
                    let entry = Entry {
                        setting,
                        text,
                        parsed,
                        source,
                    };
                    settings.insert(key, entry);
                }
                None => self.problems.push(Problem::NotAllowed {
                    key,
                    value: setting.kind.shown(&text),
                    from: source,
                    allowed: setting.allowed(),
                }),
            }
        }
        if self.problems.is_empty() {
            Ok(Values { settings, tables })
        } else {
            Err(ConfigError {
                problems: self.problems,
            })
        }
    }
}

/// Kubernetes gives every container variables about every service of its namespace; a service
/// called `pabal` or `pabal-receiver` must not keep us from starting.
fn is_service_link(name: &str, value: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || ["_PORT", "_TCP", "_UDP"]
            .iter()
            .any(|end| name.ends_with(end))
            && ["tcp://", "udp://"]
                .iter()
                .any(|start| value.starts_with(start))
        || [
            "_TCP_PROTO",
            "_TCP_PORT",
            "_TCP_ADDR",
            "_UDP_PROTO",
            "_UDP_PORT",
            "_UDP_ADDR",
        ]
        .iter()
        .any(|end| name.ends_with(end))
}

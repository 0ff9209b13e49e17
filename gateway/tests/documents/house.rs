//! What there is beside the documents.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use pabal_gateway::settings;

/// The words after `pabal`, if the line runs it.
pub(crate) fn arguments_of(line: &str) -> Option<Vec<String>> {
    let command = line.split(" #").next()?.trim();
    const WAYS: [&str; 4] = [
        "pabal",
        "cargo run --release --",
        "target/release/pabal",
        "docker compose run --rm pabal",
    ];
    let words = WAYS.iter().find_map(|program| {
        let rest = command.strip_prefix(program)?;
        (rest.is_empty() || rest.starts_with(' ')).then_some(rest)
    })?;
    Some(words.split_whitespace().map(ToOwned::to_owned).collect())
}

/// The script of the house that the line runs, and the words after it.
pub(crate) fn script_of(line: &str) -> Option<(String, Vec<String>)> {
    let command = line.split(" #").next()?.trim();
    let mut words = command
        .split_whitespace()
        .skip_while(|word| word.starts_with("PABAL_"));
    let script = words.next()?.trim_start_matches("./");
    let is_ours = script.split_once('/').is_some_and(|(folder, name)| {
        ["scripts", "deploy"].contains(&folder) && !name.contains(['.', '/'])
    });
    is_ours.then(|| (script.to_owned(), words.map(ToOwned::to_owned).collect()))
}

/// The names of the faults that `pabal chaos` knows.
pub(crate) fn faults() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_pabal"))
        .args(["chaos", "--list"])
        .output()
        .unwrap();
    assert!(output.status.success(), "pabal chaos --list: {output:?}");
    let listed = String::from_utf8(output.stdout).unwrap();
    let names = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.map(ToOwned::to_owned).collect()
}

/// The help of the command that these arguments name.
pub(crate) fn help_of(arguments: &[String]) -> String {
    const WITH_COMMANDS: [&str; 7] = [
        "partner",
        "message",
        "dead-letter",
        "ledger",
        "route",
        "sender",
        "template",
    ];
    let is_word = |word: &&String| {
        word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
    };
    let first = arguments.first().filter(is_word);
    let second = arguments.get(1).filter(is_word);
    let names = match first {
        None => vec![],
        Some(first) if WITH_COMMANDS.contains(&first.as_str()) => {
            [Some(first), second].into_iter().flatten().collect()
        }
        Some(first) => vec![first],
    };
    let output = Command::new(env!("CARGO_BIN_EXE_pabal"))
        .args(&names)
        .arg("--help")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "pabal {names:?} --help: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn section(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}

pub(crate) fn is_setting(key: &str) -> bool {
    settings::ALL
        .iter()
        .any(|part| part.iter().any(|setting| setting.key == key))
}

/// Whether a variable of this name means something to a program or a script of the house.
pub(crate) fn is_variable(name: &str) -> bool {
    const OTHERS: [&str; 3] = ["PABAL_CONFIG", "PABAL_WRITE_DOCS", "PABAL_BACKENDS"];
    const SERVERS: [&str; 3] = [
        "PABAL_TEST_LEDGER_URL",
        "PABAL_TEST_BROKER_URL",
        "PABAL_TEST_QUOTA_URL",
    ];
    OTHERS.contains(&name)
        || SERVERS.contains(&name)
        || settings::ALL
            .iter()
            .any(|part| part.iter().any(|setting| setting.variable() == name))
}

/// A path that begins with one of our folders and has no placeholders. What `deploy/make-secrets`
/// makes is nobody's but the operator's.
pub(crate) fn is_in_the_house(path: &str) -> bool {
    const FOLDERS: [&str; 11] = [
        "common",
        "provider",
        "receiver",
        "sender",
        "webhook-receiver",
        "reporter",
        "gateway",
        "migrations",
        "scripts",
        "deploy",
        "docs",
    ];
    let plain = path
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let folder = path
        .split_once('/')
        .map(|(folder, _)| folder.trim_start_matches("./"));
    let made = path.starts_with("deploy/secrets");
    plain && !made && folder.is_some_and(|folder| FOLDERS.contains(&folder))
}

pub(crate) fn is_defined(code: &str, name: &str) -> bool {
    const WORDS: [&str; 8] = [
        "fn", "struct", "enum", "trait", "const", "static", "type", "mod",
    ];
    WORDS.iter().any(|word| {
        code.split(&format!("{word} {name}")).skip(1).any(|after| {
            let next = after.chars().next().unwrap_or(' ');
            !next.is_alphanumeric() && next != '_'
        })
    })
}

/// Every document, relative to the root.
pub(crate) fn all_documents() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "docs/"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                found.push(format!("{folder}{name}"));
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

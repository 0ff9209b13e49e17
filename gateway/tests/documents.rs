//! The documents say what is true: tables made from code are up to date, and what a document names
//! (commands, settings, metrics, files, functions, headings) is there.
//!
//! `PABAL_WRITE_DOCS=1 cargo test -p pabal-gateway --test documents` writes the tables anew.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod documents {
    pub(crate) mod house;
    pub(crate) mod markdown;
    pub(crate) mod tables;
}

use std::collections::BTreeSet;
use std::fs;

use documents::house::{
    all_documents, arguments_of, help_of, is_defined, is_in_the_house, is_setting, read, root,
    section,
};
use documents::markdown::{code_of, headings, slug, spans_of};
use documents::tables::with_fresh_tables;
use pabal_common::domain::reason::Reason;
use pabal_gateway::settings;

/// Where each generated table stands.
const TABLES: [(&str, &str); 9] = [
    ("README.md", "fields"),
    ("README.md", "codes"),
    ("README.md", "simulator"),
    ("docs/configuration.md", "settings"),
    ("docs/simulator.md", "simulator"),
    ("docs/partner-guide.md", "fields"),
    ("docs/partner-guide.md", "errors"),
    ("docs/partner-guide.ko.md", "fields.ko"),
    ("docs/partner-guide.ko.md", "errors.ko"),
];
const GUIDES: [(&str, &str); 2] = [
    ("docs/partner-guide.md", "docs/partner-guide.ko.md"),
    ("docs/operator-guide.md", "docs/operator-guide.ko.md"),
];
const WRITE: &str = "PABAL_WRITE_DOCS";

#[test]
fn every_table_made_from_code_is_up_to_date() {
    let mut found = Vec::new();
    for document in all_documents() {
        let text = read(&document);
        let fresh = with_fresh_tables(&text, |table| {
            found.push((document.clone(), table.to_owned()))
        });
        if std::env::var_os(WRITE).is_some() {
            fs::write(root().join(&document), &fresh).unwrap();
        } else {
            assert!(
                text == fresh,
                "{document}: a table is out of date; {WRITE}=1 writes it"
            );
        }
    }
    for (document, table) in TABLES {
        let is_there = found.iter().any(|(d, t)| d == document && t == table);
        assert!(is_there, "{document} has no table {table}");
    }
}

#[test]
fn every_final_reason_is_explained_in_both_languages() {
    let all: Vec<&str> = Reason::ALL.map(Reason::name).to_vec();
    for document in ["docs/partner-guide.md", "docs/partner-guide.ko.md"] {
        let text = read(document);
        let (_, table) = text
            .split_once("<!-- checked: final reasons -->\n")
            .unwrap();
        let rows = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        let explained: Vec<&str> = rows
            .filter_map(|row| row.split('|').nth(1))
            .map(str::trim)
            .collect();
        assert_eq!(explained, all, "{document}");
    }
}

#[test]
fn every_command_in_a_document_exists_with_the_options_it_is_given() {
    let mut seen = 0;
    for document in all_documents() {
        for line in code_of(&read(&document)) {
            let Some(arguments) = arguments_of(&line) else {
                continue;
            };
            let help = help_of(&arguments);
            let options = arguments
                .iter()
                .filter(|word| word.starts_with("--") && word.len() > 2);
            for option in options {
                let name = option.split('=').next().unwrap();
                assert!(help.contains(name), "{document}: `{line}`: no {name}");
            }
            let settings = arguments.iter().zip(arguments.iter().skip(1));
            for (_, setting) in settings.filter(|(word, _)| *word == "--set") {
                let key = setting.split('=').next().unwrap();
                assert!(
                    is_setting(key) || key == "KEY",
                    "{document}: no setting {key}"
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} commands were found");
}

#[test]
fn every_setting_named_in_a_document_exists() {
    let sections: BTreeSet<&str> = settings::ALL
        .iter()
        .flat_map(|part| part.iter())
        .map(|one| section(one.key))
        .collect();
    for document in all_documents() {
        for span in spans_of(&read(&document)) {
            let key = span.split([' ', '=']).next().unwrap_or_default();
            let is_key = key.contains('.')
                && sections.contains(section(key))
                && key
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == '.' || c == '_');
            // A file of the data folder that is called like a setting.
            if is_key && key != "simulator.record" {
                assert!(is_setting(key), "{document}: no setting {key}");
            }
        }
    }
}

#[test]
fn the_operator_guides_list_every_metric_and_no_other() {
    let source = read("common/src/telemetry/metric.rs");
    let measured: BTreeSet<String> = source
        .split('"')
        .filter(|text| text.starts_with("pabal_"))
        .map(ToOwned::to_owned)
        .collect();
    for document in ["docs/operator-guide.md", "docs/operator-guide.ko.md"] {
        let text = read(document);
        let rows = text.lines().filter(|line| line.starts_with("| `pabal_"));
        let listed: BTreeSet<String> = rows
            .filter_map(|row| row.split('`').nth(1))
            .map(ToOwned::to_owned)
            .collect();
        assert_eq!(listed, measured, "{document}");
        for span in spans_of(&text) {
            let is_metric = span.starts_with("pabal_") && !span.contains('=');
            assert!(
                !is_metric || measured.contains(&span),
                "{document}: no metric {span}"
            );
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for document in all_documents() {
        let text = read(&document);
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if target.starts_with("https://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let folder = root().join(&document).parent().unwrap().to_owned();
            let path = if file.is_empty() {
                root().join(&document)
            } else {
                folder.join(file)
            };
            assert!(path.exists(), "{document}: {target} is not there");
            if !heading.is_empty() {
                let there = fs::read_to_string(&path).unwrap();
                let found = headings(&there).any(|one| slug(one) == heading);
                assert!(found, "{document}: {target}: no such heading");
            }
        }
    }
}

#[test]
fn every_file_and_function_named_in_a_document_exists() {
    let mut functions = 0;
    for document in all_documents() {
        for span in spans_of(&read(&document)) {
            let (path, item) = span
                .split_once(".rs::")
                .map_or((span.as_str(), None), |(path, item)| (path, Some(item)));
            let path = if item.is_some() {
                format!("{path}.rs")
            } else {
                path.to_owned()
            };
            if !is_in_the_house(&path) {
                continue;
            }
            assert!(
                root().join(&path).exists(),
                "{document}: {path} is not there"
            );
            if let Some(item) = item {
                let code = read(&path);
                for name in item.split("::") {
                    assert!(
                        is_defined(&code, name),
                        "{document}: {path} does not define {name}"
                    );
                }
                functions += 1;
            }
        }
    }
    assert!(functions > 40, "only {functions} functions were found");
}

#[test]
fn the_rooms_of_common_are_those_that_there_are() {
    let lib = read("common/src/lib.rs");
    let there: BTreeSet<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let text = read("ARCHITECTURE.md");
    let (_, table) = text.split_once("| room | holds |\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let named: BTreeSet<&str> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert_eq!(named, there);
}

#[test]
fn both_languages_of_a_guide_have_the_same_parts() {
    for (english, korean) in GUIDES {
        let parts = |document| {
            let text = read(document);
            let levels: Vec<usize> = headings(&text)
                .map(|line| line.chars().take_while(|c| *c == '#').count())
                .collect();
            let tables = text.lines().filter(|line| line.starts_with("|---")).count();
            (levels, tables, text.matches("```").count())
        };
        assert_eq!(parts(english), parts(korean), "{english} and {korean}");
    }
}

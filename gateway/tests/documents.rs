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
    all_documents, arguments_of, faults, help_of, is_defined, is_in_the_house, is_setting,
    is_variable, read, root, script_of, section,
};
use documents::markdown::{blocks_of, code_of, headings, slug, spans_of};
use documents::tables::with_fresh_tables;
use pabal_common::domain::reason::Reason;
use pabal_gateway::settings;

/// Where each generated table stands.
const TABLES: [(&str, &str); 11] = [
    ("README.md", "fields"),
    ("README.md", "codes"),
    ("README.md", "simulator"),
    ("docs/configuration.md", "settings"),
    ("docs/simulator.md", "simulator"),
    ("docs/partner-guide.md", "fields"),
    ("docs/partner-guide.md", "limits"),
    ("docs/partner-guide.md", "errors"),
    ("docs/partner-guide.ko.md", "fields.ko"),
    ("docs/partner-guide.ko.md", "limits.ko"),
    ("docs/partner-guide.ko.md", "errors.ko"),
];
const GUIDES: [(&str, &str); 3] = [
    ("docs/DEPLOYMENT.md", "docs/DEPLOYMENT.ko.md"),
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
fn every_script_in_a_document_exists_and_knows_the_words_it_is_given() {
    let mut seen = 0;
    for document in all_documents() {
        for line in code_of(&read(&document)) {
            let Some((script, words)) = script_of(&line) else {
                continue;
            };
            assert!(
                root().join(&script).exists(),
                "{document}: {script} is not there"
            );
            let text = read(&script);
            let is_option = |word: &&String| word.starts_with("--") && word.len() > 2;
            for word in words
                .first()
                .into_iter()
                .chain(words.iter().filter(is_option))
            {
                assert!(text.contains(word), "{document}: `{line}`: no {word}");
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} scripts were found");
}

#[test]
fn every_example_of_a_configuration_file_can_be_loaded() {
    let mut seen = 0;
    for document in all_documents() {
        for block in blocks_of(&read(&document), "toml") {
            let file = Some((document.clone().into(), block));
            if let Err(error) = settings::load(file, std::iter::empty(), &[]) {
                panic!("{document}: {error}");
            }
            seen += 1;
        }
    }
    assert!(seen > 3, "only {seen} examples were found");
}

#[test]
fn every_variable_named_in_a_document_means_something() {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    for document in all_documents() {
        let text = read(&document);
        for rest in text.split("PABAL_").skip(1) {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let name = format!("PABAL_{}", &rest[..end]);
            assert!(is_variable(&name), "{document}: no variable {name}");
        }
    }
}

#[test]
fn every_complaint_has_a_fault_a_test_or_a_reason() {
    let text = read("docs/RELIABILITY.md");
    let (_, complaints) = text.split_once("\n## The seventeen complaints\n").unwrap();
    let known = faults();
    let complaints: Vec<&str> = complaints.split("\n### ").skip(1).collect();
    assert_eq!(complaints.len(), 17);
    for (number, complaint) in (1..).zip(complaints) {
        assert!(
            complaint.starts_with(&format!("{number}. ")),
            "{number}: {complaint}"
        );
        let points: Vec<&str> = complaint.split("\n- ").skip(1).collect();
        assert!(!points.is_empty(), "{number}: nothing shows it");
        for point in points {
            let spans = spans_of(point);
            match point.split_once(": ").unwrap().0 {
                "Faults" => spans
                    .iter()
                    .for_each(|name| assert!(known.contains(name), "{number}: no fault {name}")),
                "Tests" => spans.iter().for_each(|name| {
                    assert!(name.contains(".rs::"), "{number}: {name} is no test");
                }),
                "Reason" => {}
                other => panic!("{number}: what is {other}?"),
            }
        }
    }
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
            // Files of the data folder that are called like settings.
            let is_file = ["keys.json", "ledger.mark", "simulator.record"].contains(&key);
            if is_key && !is_file {
                assert!(is_setting(key), "{document}: no setting {key}");
            }
        }
    }
}

#[test]
fn the_operator_guides_list_every_metric_and_no_document_names_another() {
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
    }
    for document in all_documents() {
        for span in spans_of(&read(&document)) {
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

//! The routes of the configuration file, with what the ledger says of them on top.

use std::collections::BTreeSet;

use pabal_common::ledger::KeptRoute;

use crate::config::{Adapters, Lead, RouteTable, VendorError, lead};

/// The routes that are to be used.
#[derive(Default)]
pub struct Arranged {
    /// The routes: those of the file in its order, then those of the ledger alone by name.
    pub routes: Vec<Lead>,
    /// The names of those that an operator has paused.
    pub paused: BTreeSet<String>,
    /// What of the ledger's routes cannot be used; the file's route of the same name is used then.
    pub faults: Vec<Fault>,
}

/// A route of the ledger that cannot be used here.
#[derive(Debug, thiserror::Error)]
#[error("route {name:?} as the ledger has it cannot be used: {cause}")]
pub struct Fault {
    /// The route.
    pub name: String,
    /// Why.
    pub cause: Unusable,
}

/// Why a route of the ledger cannot be used here.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It is not written as a route; perhaps by a newer program.
    #[error("{0}")]
    Unreadable(#[from] serde_json::Error),
    /// A setting is outside its range, or its account is not configured here.
    #[error(transparent)]
    Wrong(#[from] VendorError),
}

/// Puts what the ledger keeps on top of the file's routes: a route of the same name stands in the
/// file's place, another after all of them.
pub fn arrange(file: &[Lead], kept: &[KeptRoute], adapters: &Adapters) -> Arranged {
    let mut arranged = Arranged {
        routes: file.to_vec(),
        ..Arranged::default()
    };
    for one in kept {
        if one.paused {
            arranged.paused.insert(one.name.clone());
        }
        let Some(definition) = &one.definition else {
            continue;
        };
        match read(&one.name, definition, adapters) {
            Ok(lead) => put(&mut arranged.routes, lead),
            Err(cause) => arranged.faults.push(Fault {
                name: one.name.clone(),
                cause,
            }),
        }
    }
    arranged
}

fn read(name: &str, definition: &str, adapters: &Adapters) -> Result<Lead, Unusable> {
    let table: RouteTable = serde_json::from_str(definition)?;
    // The row's name is the one that counts.
    let name = name.to_owned();
    Ok(lead(RouteTable { name, ..table }, adapters)?)
}

fn put(routes: &mut Vec<Lead>, lead: Lead) {
    let same = routes
        .iter_mut()
        .find(|(spec, _)| spec.name() == lead.0.name());
    match same {
        Some(route) => *route = lead,
        None => routes.push(lead),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pabal_common::clock::{SystemClock, Timestamp};
    use pabal_common::config::Values;

    use super::*;
    use crate::config::Vendors;

    const FILE: &str = r#"
        [[account]]
        protocol = "carrier"
        name = "main"
        base_url = "https://sms.vendor.example"
        api_key = "key"
        callback_secret = "at-least-16-bytes"

        [[route]]
        name = "a"
        account = "carrier/main"
        kinds = ["SMS"]
        tps = 1
        concurrency = 1

        [[route]]
        name = "b"
        account = "carrier/main"
        kinds = ["SMS"]
        tps = 2
        concurrency = 1
    "#;

    fn arranged(kept: &[KeptRoute]) -> Arranged {
        let file = Some(("pabal.toml".into(), FILE.to_owned()));
        let tables = &["account", "route"];
        let values = Values::load(&[], tables, file, std::iter::empty(), &[]).unwrap();
        let vendors = Vendors::from_values(&values, None, Arc::new(SystemClock)).unwrap();
        let routes = vendors.routes.routes();
        let lead =
            |route: &Arc<crate::route::Route>| (route.spec().clone(), Arc::clone(route.provider()));
        let file: Vec<Lead> = routes.iter().map(lead).collect();
        arrange(&file, kept, &vendors.adapters)
    }

    fn kept(name: &str, definition: Option<&str>, paused: bool) -> KeptRoute {
        KeptRoute {
            name: name.to_owned(),
            definition: definition.map(str::to_owned),
            paused,
            updated_at: Timestamp::default(),
        }
    }

    fn rates(arranged: &Arranged) -> Vec<(&str, u32)> {
        let routes = arranged.routes.iter();
        routes.map(|(spec, _)| (spec.name(), spec.tps())).collect()
    }

    #[test]
    fn a_route_of_the_ledger_stands_in_the_place_of_the_files_and_another_behind_all_of_them() {
        let definition = |tps: u32| {
            format!(
                r#"{{"name": "x", "account": "carrier/main", "kinds": ["SMS"], "tps": {tps},
                    "concurrency": 1}}"#
            )
        };
        let rows = [
            kept("a", Some(&definition(7)), false),
            kept("aa", Some(&definition(8)), false),
        ];
        let arranged = arranged(&rows);
        assert_eq!(rates(&arranged), [("a", 7), ("b", 2), ("aa", 8)]);
        assert!(arranged.faults.is_empty());
    }

    #[test]
    fn a_pause_alone_leaves_the_route_as_the_file_has_it() {
        let arranged = arranged(&[kept("b", None, true), kept("a", None, false)]);
        assert_eq!(rates(&arranged), [("a", 1), ("b", 2)]);
        assert_eq!(arranged.paused, BTreeSet::from(["b".to_owned()]));
    }

    #[test]
    fn what_cannot_be_used_is_named_and_the_files_route_stays() {
        let elsewhere = r#"{"name": "b", "account": "carrier/other", "kinds": ["SMS"], "tps": 9,
            "concurrency": 1}"#;
        let rows = [
            kept("a", Some(r#"{"name": "a", "new": 1}"#), false),
            kept("b", Some(elsewhere), false),
            kept("c", Some("{}"), true),
        ];
        let arranged = arranged(&rows);
        assert_eq!(rates(&arranged), [("a", 1), ("b", 2)]);
        let faults: Vec<_> = arranged.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), 3);
        assert!(faults[1].contains("carrier/other"), "{faults:?}");
    }
}

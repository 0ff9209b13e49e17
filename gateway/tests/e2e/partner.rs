//! A partner: what it was promised, and what it was told.

use std::collections::{BTreeMap, HashMap};
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

use pabal_common::domain::id::PartnerId;
use pabal_gateway::partners::Credentials;
use serde_json::Value;

use crate::api::Answer;
use crate::endpoint::{Endpoint, Seen};
use crate::wait::PATIENCE;

/// A partner that has logged in.
pub(crate) struct Partner {
    pub(crate) id: PartnerId,
    pub(crate) credentials: Credentials,
    pub(crate) token: String,
    pub(crate) endpoint: Endpoint,
    /// What it was told is kept: message id and type.
    accepted: Mutex<BTreeMap<String, String>>,
}

impl Partner {
    pub(crate) fn new(
        id: PartnerId,
        credentials: Credentials,
        token: String,
        endpoint: Endpoint,
    ) -> Self {
        Self {
            id,
            credentials,
            token,
            endpoint,
            accepted: Mutex::default(),
        }
    }

    /// Notes what an answer says to have accepted; a repeat of an accepted message is one, too.
    pub(crate) fn note(&self, request: &Value, answer: &Answer) {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut note = |said: &Value, message: &Value| {
            let same = said["code"] == "0000" || said["reason"] == "SAME";
            if let (true, Some(id)) = (same, said["messageId"].as_str()) {
                accepted.insert(id.to_owned(), message["type"].as_str().unwrap().to_owned());
            }
        };
        match answer.body["results"].as_array() {
            Some(results) => {
                let messages = request["messages"].as_array().unwrap();
                for (said, message) in results.iter().zip(messages) {
                    note(said, message);
                }
            }
            None => note(&answer.body, request),
        }
    }

    /// What it was told is kept.
    pub(crate) fn accepted(&self) -> BTreeMap<String, String> {
        self.accepted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn accepted_by_type(&self) -> HashMap<String, u64> {
        let mut counts = HashMap::new();
        for kind in self.accepted().into_values() {
            *counts.entry(kind).or_default() += 1;
        }
        counts
    }

    /// Every webhook was signed twice and right, and no result came under two ids.
    pub(crate) fn check_webhooks(&self) {
        assert_eq!(self.endpoint.forged(), 0);
        let mut told: HashMap<(String, String), String> = HashMap::new();
        for webhook in self.endpoint.seen() {
            for event in webhook.events() {
                let word = |field: &str| event[field].as_str().unwrap().to_owned();
                let before = told.insert((word("messageId"), word("status")), webhook.id.clone());
                assert!(before.is_none_or(|before| before == webhook.id), "{event}");
            }
        }
    }

    /// The results in webhooks that were taken, one each, however often it was sent.
    pub(crate) fn told(&self) -> Vec<Value> {
        let mut once = BTreeMap::new();
        for webhook in self.endpoint.taken() {
            for event in webhook.events() {
                once.insert(event["id"].to_string(), event.clone());
            }
        }
        once.into_values().collect()
    }

    /// Waits for the final result of a message in a webhook that was taken.
    pub(crate) async fn result(&self, id: &str) -> Value {
        let mut arrivals = self.endpoint.arrivals();
        loop {
            let mut told = self.told().into_iter();
            let result = told.find(|event| event["messageId"] == id && event["status"] != "SENT");
            if let Some(result) = result {
                return result;
            }
            arrivals.changed().await.unwrap();
        }
    }

    /// Waits until so many requests came to its endpoint.
    #[track_caller]
    pub(crate) fn until_seen(&self, count: usize) -> impl Future<Output = Vec<Seen>> {
        let caller = Location::caller();
        async move {
            let mut arrivals = self.endpoint.arrivals();
            let enough = async {
                loop {
                    let seen = self.endpoint.seen();
                    if seen.len() >= count {
                        return seen;
                    }
                    arrivals.changed().await.unwrap();
                }
            };
            let arrived = tokio::time::timeout(PATIENCE, enough).await;
            arrived.unwrap_or_else(|_| panic!("waited in vain at {caller}"))
        }
    }
}

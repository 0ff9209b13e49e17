//! Asking what became of messages: `GET /messages/v4/list` (github.com/solapi/documents at c203145,
//! `api-reference/messages/getMessageList.md`; the query as in github.com/solapi/solapi-nodejs).
//!
//! The list finds messages by the vendor's id, and by when they were made. It cannot be asked for our
//! own id, so a message whose answer was lost is looked for among those made around its call. Where an
//! account sends more in that time than the pages read here hold, it may not be found; and what is
//! made meanwhile may shift the pages. "Not found" proves nothing in any case.

use std::collections::BTreeMap;
use std::time::Duration;

use pabal_common::clock::Timestamp;
use pabal_common::domain::id::SubmissionId;
use serde::Deserialize;

use super::super::exchange::{Request, probed};
use super::Solapi;
use super::answer::read_error;
use super::stored::{Stored, text};
use crate::provider::{Asked, Found};

const PATH: &str = "/messages/v4/list";
/// The most messages on a page.
const PAGE: &str = "500";
/// The most pages read for one call.
const PAGES: usize = 10;
/// How far around its claim a call's messages may have been made: clocks differ, and a call takes its
/// time.
const BEFORE: Duration = Duration::from_secs(60);
const AFTER: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    message_list: BTreeMap<String, Stored>,
    #[serde(default, deserialize_with = "text")]
    next_key: Option<String>,
}

impl Solapi {
    /// What the vendor has of `asked`: one entry each, in order.
    pub(super) async fn look_up(&self, asked: &[Asked]) -> Result<Vec<Found>, String> {
        let mut stored = self.named(asked).await?;
        let mut calls: BTreeMap<_, usize> = BTreeMap::new();
        for lost in asked.iter().filter(|one| one.vendor_id.is_none()) {
            *calls.entry(lost.submission).or_default() += 1;
        }
        for (call, wanted) in calls {
            stored.extend(self.made_around(call, wanted).await?);
        }
        let now = self.clock.now();
        let found = asked.iter().map(|one| {
            let stored = stored.iter().find(|stored| is_of(stored, one));
            let report = stored.and_then(|stored| stored.report(&self.account, now));
            report.map_or(Found::NotFound, |mut report| {
                report.message = Some(one.id);
                report.submission = Some(one.submission);
                Found::Known(report)
            })
        });
        Ok(found.collect())
    }

    /// Whether the list can be had at all.
    pub(super) async fn look(&self) -> Result<(), String> {
        self.page(&[("limit", "1")]).await.map(drop)
    }

    /// Those whose vendor id is known.
    async fn named(&self, asked: &[Asked]) -> Result<Vec<Stored>, String> {
        let ids = asked.iter().filter_map(|one| one.vendor_id.as_ref());
        let mut query: Vec<_> = ids.map(|id| ("messageIds", id.as_str())).collect();
        if query.is_empty() {
            return Ok(Vec::new());
        }
        query.push(("limit", PAGE));
        let page = self.page(&query).await?;
        Ok(page.message_list.into_values().collect())
    }

    /// Those of `call`, until there are as many as `wanted`.
    async fn made_around(&self, call: SubmissionId, wanted: usize) -> Result<Vec<Stored>, String> {
        let claimed = claimed_at(call);
        let from = claimed.minus(BEFORE).to_rfc3339();
        let until = claimed.plus(AFTER).to_rfc3339();
        let mut stored = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..PAGES {
            let mut query = vec![
                ("dateType", "CREATED"),
                ("startDate", from.as_str()),
                ("endDate", until.as_str()),
                ("limit", PAGE),
            ];
            query.extend(next.as_deref().map(|key| ("startKey", key)));
            let page = self.page(&query).await?;
            let entries = page.message_list.into_values();
            stored.extend(entries.filter(|entry| entry.call() == Some(call)));
            next = page.next_key.filter(|key| !key.is_empty());
            if stored.len() >= wanted || next.is_none() {
                break;
            }
        }
        Ok(stored)
    }

    async fn page(&self, query: &[(&str, &str)]) -> Result<Page, String> {
        let request = self.signed(Request::get(PATH).query(query));
        let read = |body: &[u8]| serde_json::from_slice(body).ok();
        let page = self.exchange.call(request, read, read_error).await;
        page.map_err(|outcome| probed(&outcome).0)
    }
}

fn is_of(stored: &Stored, asked: &Asked) -> bool {
    match &asked.vendor_id {
        Some(id) => stored.vendor_id().as_ref() == Some(id),
        None => stored.message() == Some(asked.id) && stored.call() == Some(asked.submission),
    }
}

/// An id is made when its call is claimed, and bears that time in its upper 42 bits: milliseconds
/// since 2020.
fn claimed_at(call: SubmissionId) -> Timestamp {
    const BELOW_TIME: u32 = 22;
    const EPOCH: i64 = 1_577_836_800_000;
    let millis = i64::try_from(call.number() >> BELOW_TIME).unwrap_or_default();
    Timestamp::from_millis(EPOCH + millis)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pabal_common::clock::ManualClock;
    use pabal_common::domain::id::Ids;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_tells_when_its_call_was_claimed() {
        let now = Timestamp::from_millis(1_795_000_000_007);
        let ids = Ids::new(Arc::new(ManualClock::new(now)), 1023);
        assert_eq!(claimed_at(ids.submission()), now);
    }

    proptest! {
        #[test]
        fn any_id_tells_some_time(number: u64) {
            let at = claimed_at(SubmissionId::from_number(number));
            prop_assert!(at.minus(BEFORE) < at.plus(AFTER));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(body: Vec<u8>) {
            let _: Option<Page> = serde_json::from_slice(&body).ok();
        }
    }
}

//! What became of messages: by update time, or by request and grouping key.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Response};
use pabal_common::clock::{Clock as _, SystemClock};
use pabal_common::domain::id::MessageId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::archive::{Known, Logged};
use super::super::fault::json as answer_with;
use super::super::lock;
use super::wire::{failure, header};
use super::{Desk, List, Product, kakao, kst, request_id, sms};
use crate::reports::Notation;

/// The longest window of results, in seconds.
const LONGEST: i64 = 24 * 3600;
const MOST: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Window {
    start_update_date: String,
    end_update_date: String,
    page_num: Option<usize>,
    page_size: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Search {
    request_id: Option<String>,
    start_request_date: Option<String>,
    end_request_date: Option<String>,
    recipient_grouping_key: Option<String>,
}

pub(super) async fn poll(
    State(desk): State<Arc<Desk>>,
    Path(app): Path<String>,
    headers: HeaderMap,
    Query(window): Query<Window>,
) -> Response<Body> {
    let results = match desk.results(&app, &headers, &window) {
        Ok(results) => results,
        Err(code) => return failure(code),
    };
    let (page, size) = (
        window.page_num.unwrap_or(1).max(1),
        window.page_size.unwrap_or(15).clamp(1, MOST),
    );
    let total = results.len();
    let rows = results.iter().skip((page - 1) * size).take(size);
    let rows: Vec<Value> = rows.map(|logged| desk.result(logged)).collect();
    answer_with(
        200,
        &match desk.product {
            Product::Sms => json!({
                "header": header(0),
                "body": { "pageNum": page, "pageSize": size, "totalCount": total, "data": rows },
            }),
            Product::Kakao => json!({ "header": header(0), "messages": rows }),
        },
    )
}

pub(super) async fn count(
    State(desk): State<Arc<Desk>>,
    Path(app): Path<String>,
    headers: HeaderMap,
    Query(window): Query<Window>,
) -> Response<Body> {
    match desk.results(&app, &headers, &window) {
        Ok(results) => answer_with(
            200,
            &json!({ "header": header(0), "totalCount": results.len() }),
        ),
        Err(code) => failure(code),
    }
}

pub(super) async fn list(
    State(desk): State<Arc<Desk>>,
    Path((app, service)): Path<(String, String)>,
    headers: HeaderMap,
    Query(search): Query<Search>,
) -> Response<Body> {
    let list = match desk.product {
        Product::Sms => sms::list(&service),
        Product::Kakao => kakao::alimtalk_list(&service),
    };
    desk.found(&app, &headers, list, &search)
}

pub(super) async fn list_brand(
    State(desk): State<Arc<Desk>>,
    Path((app, service)): Path<(String, String)>,
    headers: HeaderMap,
    Query(search): Query<Search>,
) -> Response<Body> {
    let list = (service == "messages").then_some(List::Brand);
    desk.found(&app, &headers, list, &search)
}

impl Desk {
    /// The results updated in a window, both ends included, oldest first.
    fn results(&self, app: &str, headers: &HeaderMap, window: &Window) -> Result<Vec<Logged>, i32> {
        if !self.is_ours(app, headers) {
            return Err(self.product.stranger());
        }
        let read = match self.product {
            Product::Sms => kst::read_second,
            Product::Kakao => kst::read_minute,
        };
        let wrong = match self.product {
            Product::Sms => -2000,
            Product::Kakao => -2027,
        };
        let from = read(&window.start_update_date).ok_or(wrong)?;
        let until = read(&window.end_update_date).ok_or(wrong)?;
        if until - from > LONGEST {
            return Err(match self.product {
                Product::Sms => -1005,
                Product::Kakao => -4003,
            });
        }
        // A minute is meant whole.
        let end = match self.product {
            Product::Sms => until,
            Product::Kakao => until + 59,
        };
        self.vendor.publish_due();
        let all = lock(&self.vendor.archive).page(None, usize::MAX).results;
        let updated_within = |logged: &Logged| {
            let updated = self.told(logged.at).unix_seconds();
            (from..=end).contains(&updated)
        };
        // Alimtalk's list holds no Brand Message.
        let listed = |logged: &Logged| self.list_of(logged.item.message) != List::Brand;
        Ok(all
            .into_iter()
            .filter(updated_within)
            .filter(listed)
            .collect())
    }

    fn result(&self, Logged { item, at }: &Logged) -> Value {
        let (told, code) = (
            kst::second(self.told(*at)),
            self.product.code_of(item.ending),
        );
        let request = request_id(item.shown_vendor());
        let seq = match item.notation {
            Notation::Other => json!("01"),
            Notation::Usual | Notation::Unknown => json!(1),
        };
        match self.product {
            Product::Sms => {
                let key = match item.notation {
                    Notation::Unknown => Value::Null,
                    Notation::Usual | Notation::Other => json!(item.message),
                };
                json!({
                    "messageType": "SMS",
                    "requestId": request,
                    "recipientSeq": seq,
                    "resultCode": code,
                    "requestDate": format!("{told}.0"),
                    "resultDate": format!("{told}.0"),
                    "updateDate": format!("{told}.0"),
                    "recipientGroupingKey": key,
                })
            }
            Product::Kakao => json!({
                "requestId": request,
                "recipientSeq": seq,
                "requestDate": told,
                "receiveDate": told,
                "messageStatus": if code == "1000" { "COMPLETED" } else { "FAILED" },
                "resendStatus": "RSC01",
                "resultCode": code,
            }),
        }
    }

    fn found(
        &self,
        app: &str,
        headers: &HeaderMap,
        list: Option<List>,
        search: &Search,
    ) -> Response<Body> {
        if !self.is_ours(app, headers) {
            return failure(self.product.stranger());
        }
        let Some(list) = list else {
            return failure(-9998);
        };
        let dated = search.start_request_date.is_some() && search.end_request_date.is_some();
        if search.request_id.is_none() && !dated {
            return failure(match self.product {
                Product::Sms => -2011,
                Product::Kakao => -4103,
            });
        }
        let key = search.recipient_grouping_key.as_deref();
        let message: Option<MessageId> = key.and_then(|key| key.parse().ok());
        let message = message.filter(|message| self.list_of(*message) == list);
        let archive = lock(&self.vendor.archive);
        let known = message.and_then(|message| Some((message, archive.known(message)?)));
        let known = known.filter(|(_, known)| {
            let request = search.request_id.as_ref();
            request.is_none_or(|request| *request == request_id(known.vendor))
        });
        let rows: Vec<Value> = known
            .iter()
            .map(|(message, known)| self.listed(*message, known))
            .collect();
        drop(archive);
        let total = rows.len();
        answer_with(
            200,
            &match self.product {
                Product::Sms => json!({
                    "header": header(0),
                    "body": { "pageNum": 1, "pageSize": 15, "totalCount": total, "data": rows },
                }),
                Product::Kakao => json!({
                    "header": header(0),
                    "messageSearchResultResponse": { "messages": rows, "totalCount": total },
                }),
            },
        )
    }

    fn listed(&self, message: MessageId, known: &Known) -> Value {
        let is_final = known.is_final(SystemClock.now());
        let code = is_final.then(|| self.product.code_of(known.ending));
        let at = known.final_at.filter(|_| is_final);
        let at = at.map(|at| kst::second(self.told(at)));
        let (request, key) = (request_id(known.vendor), message.to_string());
        match self.product {
            Product::Sms => json!({
                "requestId": request,
                "recipientSeq": 1,
                "msgStatus": match code {
                    None => "2",
                    Some("1000") => "3",
                    Some(_) => "0",
                },
                "resultCode": code,
                "resultDate": at,
                "recipientGroupingKey": key,
            }),
            Product::Kakao => json!({
                "requestId": request,
                "recipientSeq": 1,
                "messageStatus": match code {
                    None => Value::Null,
                    Some("1000") => json!("COMPLETED"),
                    Some(_) => json!("FAILED"),
                },
                "resultCode": code,
                "receiveDate": at,
                "recipientGroupingKey": key,
            }),
        }
    }
}

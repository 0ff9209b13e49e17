//! NHN Cloud: SMS (API v3.0) and KakaoTalk Bizmessage (Alimtalk v2.3, Brand Message v1.0).
//!
//! One account is one app key of one product. A request carries one text and one sender for all its
//! recipients, and messages of a call have texts of their own, so a call is one message: several
//! requests for one call would leave nobody able to say which of them an unknown outcome is about.
//!
//! A message's key at NHN is its request id and its place in it; our id travels along as the
//! recipient's grouping key, comes back in results, and is what a lost answer is asked for by.

mod answer;
mod callback;
mod code;
mod cursor;
mod kakao;
mod kst;
mod letter;
mod page;
mod report;
mod settings;
mod sms;
mod wire;

use async_trait::async_trait;
use pabal_common::clock::{Clock as _, SystemClock, Timestamp};
use pabal_common::domain::report::{Report, VendorAccount, Verdict};
use reqwest::header::{HeaderName, HeaderValue};

use super::code::Codes;
use super::exchange::{Exchange, Request};
use super::{Account, BuildError};
use crate::provider::{
    AskError, Asked, Call, CallbackError, Capabilities, Found, NotConnected, Outcome, Outgoing,
    PollError, Polled, ProbeError, Provider, ReportPath,
};
use callback::Signature;
pub(super) use code::{KAKAO, SMS};
use cursor::{Cursor, Look, PAGE};
use kst::Grain;
use letter::Letter;
use page::{NoPage, Page};
use report::Row;
use settings::{Reports, Settings};

const SECRET_KEY: HeaderName = HeaderName::from_static("x-secret-key");
/// Kakao fails a second request with the same key within ten minutes. That is no promise to resend
/// on: what "the same key" does after a first request that failed is not documented, and the answer
/// (-1005) does not tell what became of the first. It only stops what would repeat our bytes.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("x-nc-api-idempotency-key");
/// How far back a message is looked for, in seconds: longer than the carriers may take.
const LOOKED_FOR: i64 = 4 * 24 * 3600;
/// How far ahead of ours NHN's clock may be, in seconds.
const AHEAD: i64 = 600;

/// One app key at NHN Cloud.
pub(super) struct Nhn {
    account: VendorAccount,
    capabilities: Capabilities,
    exchange: Exchange,
    settings: Settings,
    /// Where NHN calls.
    signature: Option<Signature>,
}

impl Nhn {
    /// The adapter.
    pub(super) fn new(account: Account) -> Result<Self, BuildError> {
        let settings: Settings = account.settings()?;
        let settings = settings.checked()?;
        let (reports, signature) = match settings.reports() {
            Reports::Callback => (ReportPath::Callback, Some(Signature::of(&account)?)),
            Reports::Poll => (ReportPath::Poll, None),
        };
        Ok(Self {
            exchange: Exchange::new(&account, SECRET_KEY, "")?,
            account: account.account,
            capabilities: Capabilities {
                batch: 1,
                duplicate_window: None,
                can_be_asked: true,
                answers_finally: false,
                reports,
                definitive: match settings {
                    Settings::Sms(_) => &code::SMS_DEFINITIVE,
                    Settings::Kakao(_) => &code::KAKAO_DEFINITIVE,
                },
            },
            settings,
            signature,
        })
    }

    fn codes(&self) -> Codes {
        match self.settings {
            Settings::Sms(_) => SMS,
            Settings::Kakao(_) => KAKAO,
        }
    }

    fn letter<'a>(&'a self, message: &'a Outgoing) -> Result<Letter<'a>, &'static str> {
        let app_key = self.settings.app_key().as_str();
        match &self.settings {
            Settings::Sms(own) => sms::letter(app_key, message, own.origin_code.as_deref()),
            Settings::Kakao(own) => {
                let reseller = own.reseller_code.as_deref();
                kakao::letter(app_key, message, own.targeting, reseller)
            }
        }
    }

    /// The lists in which a message may stand; which of them, only its type and purpose would tell.
    fn lists(&self) -> [String; 3] {
        let app_key = self.settings.app_key().as_str();
        match self.settings {
            Settings::Sms(_) => ["sms", "mms", "auth/sms"]
                .map(|list| format!("{}/sender/{list}", sms::base(app_key))),
            Settings::Kakao(_) => [
                format!("{}/messages", kakao::alimtalk_base(app_key)),
                format!("{}/auth/messages", kakao::alimtalk_base(app_key)),
                format!("{}/messages", kakao::brand_base(app_key)),
            ],
        }
    }

    /// Where results are polled, and how precisely their times are told. Brand Message has none.
    fn results(&self) -> (String, Grain) {
        let app_key = self.settings.app_key().as_str();
        let (base, grain) = match self.settings {
            Settings::Sms(_) => (sms::base(app_key), Grain::Second),
            Settings::Kakao(_) => (kakao::alimtalk_base(app_key), Grain::Minute),
        };
        (format!("{base}/message-results"), grain)
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<bytes::Bytes, NoPage> {
        let body = self.exchange.get(path, query).await;
        body.map_err(NoPage::Exchange)
    }

    /// The page that `look` names, and how many results its window has.
    async fn page(&self, look: Look) -> Result<(Page, u64), NoPage> {
        let (path, grain) = self.results();
        let (from, until) = (grain.write(look.from), grain.write(look.until));
        let window = [
            ("startUpdateDate", from.as_str()),
            ("endUpdateDate", until.as_str()),
        ];
        let (number, size) = (look.page.to_string(), PAGE.to_string());
        let mut query = window.to_vec();
        query.extend([("pageNum", number.as_str()), ("pageSize", size.as_str())]);
        let page = page::read(&self.get(&path, &query).await?)?;
        let total = match (&self.settings, page.total) {
            (_, Some(total)) => total,
            (Settings::Sms(_), None) => return Err(NoPage::Unreadable),
            (Settings::Kakao(_), None) if page.length < PAGE => page.length,
            (Settings::Kakao(_), None) => {
                let count = self.get(&format!("{path}/count"), &window).await?;
                page::read_count(&count)?
            }
        };
        Ok((page, total))
    }

    async fn find(&self, asked: &Asked) -> Result<Option<Row>, NoPage> {
        let grain = self.results().1;
        let now = SystemClock.now().unix_seconds();
        let (from, until) = (grain.write(now - LOOKED_FOR), grain.write(now + AHEAD));
        let key = asked.id.to_string();
        let mut query = vec![("recipientGroupingKey", key.as_str())];
        match asked.vendor_id.as_ref().and_then(wire::request_of) {
            Some(request) => query.push(("requestId", request)),
            None => query.extend([
                ("startRequestDate", from.as_str()),
                ("endRequestDate", until.as_str()),
            ]),
        }
        for list in self.lists() {
            let rows = page::read_found(&self.get(&list, &query).await?)?;
            let ours = rows
                .into_iter()
                .filter(|row| row.message() == Some(asked.id));
            // One that failed may be of an earlier call.
            let found = ours.max_by_key(|row| self.promise(row));
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn promise(&self, row: &Row) -> u8 {
        match row.verdict(self.codes()) {
            Verdict::Failed(_) => 0,
            Verdict::Taken => 1,
            Verdict::Delivered => 2,
        }
    }

    fn reports<'a>(&self, rows: impl Iterator<Item = &'a Row>, now: Timestamp) -> Vec<Report> {
        let report = |row: &Row| row.report(&self.account, self.codes(), now);
        rows.filter_map(report).collect()
    }
}

#[async_trait]
impl Provider for Nhn {
    fn account(&self) -> &VendorAccount {
        &self.account
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn submit(&self, call: &Call) -> Outcome {
        let [message] = call.messages.as_slice() else {
            // Nothing has been sent.
            let messages = call.messages.len();
            tracing::error!(messages, "NHN takes one message a call");
            return Outcome::NotConnected(NotConnected::Refused);
        };
        let codes = self.codes();
        let letter = match self.letter(message) {
            Ok(letter) => letter,
            Err(code) => return Outcome::Answered(vec![codes.answer(code, None)]),
        };
        let mut request = match Request::json(&letter.path, &letter.body) {
            Ok(request) => request,
            Err(nothing_left) => return nothing_left,
        };
        if let Settings::Kakao(_) = self.settings {
            // An id is letters and digits, so it always is a header.
            if let Ok(key) = HeaderValue::try_from(call.submission.to_string()) {
                request = request.header(IDEMPOTENCY_KEY, key);
            }
        }
        let read = |body: &[u8]| answer::read(body, message.id, codes);
        let refused = |body: &[u8]| answer::read_refusal(body, codes);
        let answers = self.exchange.call(request, read, refused).await;
        answers.map_or_else(|outcome| outcome, Outcome::Answered)
    }

    async fn ask(&self, asked: &[Asked]) -> Result<Vec<Found>, AskError> {
        let mut found = Vec::with_capacity(asked.len());
        for asked in asked {
            let row = self.find(asked).await;
            let row = row.map_err(|error| AskError(error.to_string()))?;
            let now = SystemClock.now();
            let report = row.and_then(|row| row.report(&self.account, self.codes(), now));
            found.push(report.map_or(Found::NotFound, |report| {
                Found::Known(Report {
                    submission: Some(asked.submission),
                    ..report
                })
            }));
        }
        Ok(found)
    }

    /// Asks for the results of the last minute; none are needed.
    async fn probe(&self) -> Result<(), ProbeError> {
        let (path, grain) = self.results();
        let now = SystemClock.now().unix_seconds();
        let (from, until) = (grain.write(now - 60), grain.write(now));
        let query = [
            ("startUpdateDate", from.as_str()),
            ("endUpdateDate", until.as_str()),
            ("pageSize", "1"),
        ];
        let body = self.get(&path, &query).await;
        body.and_then(|body| page::read_success(&body))
            .map_err(|error| ProbeError(error.to_string()))
    }

    fn read_callback(
        &self,
        header: &(dyn Fn(&str) -> Option<String> + Sync),
        body: &[u8],
        now: Timestamp,
    ) -> Result<Vec<Report>, CallbackError> {
        let signature = self.signature.as_ref().ok_or(CallbackError::NotExpected)?;
        signature.check(header)?;
        let rows = callback::read(self.settings.app_key().as_str(), body)?;
        Ok(self.reports(rows.iter(), now))
    }

    async fn poll(&self, cursor: Option<&str>) -> Result<Polled, PollError> {
        if self.capabilities.reports != ReportPath::Poll {
            return Err(PollError("this account is called back".to_owned()));
        }
        let grain = self.results().1;
        let now = SystemClock.now();
        // What is no cursor of ours begins anew, rather than never.
        let at: Option<Cursor> = cursor.and_then(|cursor| cursor.parse().ok());
        let Some(look) = Look::next(at, now, grain) else {
            return Ok(Polled {
                cursor: cursor.map(str::to_owned),
                ..Polled::default()
            });
        };
        let page = self.page(look).await;
        let (page, total) = page.map_err(|error| PollError(error.to_string()))?;
        let then = look.then(page.length, total);
        let then = then.map_err(|error| PollError(error.to_string()))?;
        let held = page.rows.iter().filter(|row| {
            let updated_at = row.updated_at();
            then.counts && updated_at.is_none_or(|at| look.holds(at))
        });
        Ok(Polled {
            reports: self.reports(held, now),
            cursor: Some(then.cursor.to_string()),
            more: Look::next(Some(then.cursor), now, grain).is_some(),
        })
    }
}

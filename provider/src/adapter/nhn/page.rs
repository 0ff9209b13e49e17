//! Lists that NHN gives: results by their update time, and messages by request or grouping key.

use serde::Deserialize;
use serde_json::Value;

use super::answer::Header;
use super::report::Row;

/// Kakao's word for "no such message".
const NO_MESSAGE: &str = "-1016";

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPage {
    /// The exchange failed, in its words.
    #[error("{0}")]
    Exchange(String),
    /// NHN says why not.
    #[error("NHN's code {0}")]
    Code(String),
    /// It is not an answer of the documented form.
    #[error("unreadable answer")]
    Unreadable,
}

/// One page of a list.
#[derive(Debug)]
pub(super) struct Page {
    /// What could be read of it.
    pub(super) rows: Vec<Row>,
    /// How many there were on the page.
    pub(super) length: u64,
    /// How many there are on all pages, where it is said.
    pub(super) total: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    header: Header,
    /// SMS.
    body: Option<Body>,
    /// Results of Alimtalk.
    messages: Option<Vec<Value>>,
    /// Messages of Alimtalk and Brand Message.
    message_search_result_response: Option<Found>,
    /// How many results Alimtalk has.
    total_count: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    data: Option<Data>,
    total_count: Option<u64>,
}

/// The table of the documentation wraps the list, its example does not.
#[derive(Deserialize)]
#[serde(untagged)]
enum Data {
    Plain(Vec<Value>),
    Wrapped {
        #[serde(rename = "resultUpdateList")]
        results: Vec<Value>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    messages: Option<Vec<Value>>,
    total_count: Option<u64>,
}

impl Envelope {
    fn read(body: &[u8]) -> Result<Self, NoPage> {
        let envelope: Self = serde_json::from_slice(body).map_err(|_| NoPage::Unreadable)?;
        match envelope.header.failure() {
            Some(code) => Err(NoPage::Code(code)),
            None if envelope.header.succeeded() => Ok(envelope),
            None => Err(NoPage::Unreadable),
        }
    }
}

/// Reads a page. Without a list, it is none: an answer that says nothing does not say "nothing new".
pub(super) fn read(body: &[u8]) -> Result<Page, NoPage> {
    let envelope = Envelope::read(body)?;
    let (rows, total) = match (
        envelope.body,
        envelope.messages,
        envelope.message_search_result_response,
    ) {
        (Some(Body { data, total_count }), _, _) => {
            let rows = data.map(|data| match data {
                Data::Plain(rows) | Data::Wrapped { results: rows } => rows,
            });
            (rows, total_count)
        }
        (_, Some(messages), _) => (Some(messages), envelope.total_count),
        (_, _, Some(found)) => (found.messages, found.total_count),
        (None, None, None) => (None, None),
    };
    let rows = rows.ok_or(NoPage::Unreadable)?;
    Ok(Page {
        length: rows.len() as u64,
        rows: Row::read_all(rows),
        total,
    })
}

/// Reads a page of messages that were looked for; there may be none.
pub(super) fn read_found(body: &[u8]) -> Result<Vec<Row>, NoPage> {
    match read(body) {
        Ok(page) => Ok(page.rows),
        Err(NoPage::Code(code)) if code == NO_MESSAGE => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Reads how many results a window has.
pub(super) fn read_count(body: &[u8]) -> Result<u64, NoPage> {
    let count = Envelope::read(body)?.total_count;
    count.ok_or(NoPage::Unreadable)
}

/// Whether an answer says that the account may ask at all.
pub(super) fn read_success(body: &[u8]) -> Result<(), NoPage> {
    Envelope::read(body).map(drop)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_without_a_list_is_not_an_empty_list() {
        let header = r#""header":{"isSuccessful":true,"resultCode":0}"#;
        for body in [
            format!("{{{header}}}"),
            format!("{{{header},\"body\":{{\"totalCount\":0}}}}"),
            format!("{{{header},\"messageSearchResultResponse\":{{}}}}"),
            "{}".to_owned(),
        ] {
            assert_eq!(
                read(body.as_bytes()).unwrap_err(),
                NoPage::Unreadable,
                "{body}"
            );
        }
        let empty = format!("{{{header},\"messages\":[]}}");
        assert_eq!(read(empty.as_bytes()).unwrap().length, 0);
    }

    #[test]
    fn a_row_that_cannot_be_read_does_not_hold_up_the_page() {
        let body = br#"{"header":{"isSuccessful":true,"resultCode":0},"body":{"totalCount":3,
            "data":{"resultUpdateList":[7,{"recipientSeq":{}},{"requestId":"A","recipientSeq":1}]}}}"#;
        let page = read(body).unwrap();
        assert_eq!((page.rows.len(), page.length, page.total), (1, 3, Some(3)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(body: Vec<u8>) {
            let _ = read(&body);
            let _ = read_found(&body);
            let _ = read_count(&body);
        }
    }
}

//! A request, rendered once: for each only the client ids and the recipients change.

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Uri};
use pabal_gateway::trial::site::SENDER;

use super::answer::{self, Verdict};

/// What a client id is longest: a mark of the load, a hyphen and a number.
const CLIENT_DIGITS: usize = 12;
/// The last two digits of these recipients are plainly delivered by the simulated vendors.
const PLAIN: u64 = 50;

/// What every message says.
const TEXT: &str = "안녕하세요, 파발입니다.";
/// What every message of a query says, before the mark of its load.
const TEXT_OF_QUERY: &str = "Hello%20from%20the%20bench%20";

/// Which messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::command::bench) enum Kind {
    /// SMS: up to a hundred in one vendor call, reported by callback.
    Sms,
    /// SMS that carries a code: on the express lane.
    Auth,
    /// Naver TalkTalk: one in a vendor call, which answers finally.
    Talk,
}

/// How a letter is sent.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// As the body of a POST to this path.
    Post(&'static str),
    /// As the path and query of a GET; a gateway answers this status if it accepts.
    Get { accepted: u16 },
}

/// A body or a query, and where in it the changing parts are.
#[derive(Clone, Debug)]
pub(in crate::command::bench) struct Letter {
    form: Form,
    body: Vec<u8>,
    places: Vec<Place>,
}

/// Where one message's own parts begin.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The digits of its client id, if it has one.
    client: Option<usize>,
    /// The eight digits of its recipient.
    recipient: usize,
}

impl Letter {
    /// One message a request. `mark` makes its client ids different from those of any other load.
    pub(in crate::command::bench) fn single(kind: Kind, from: &str, mark: &str) -> Self {
        let mut letter = Self::empty(Form::Post("/v1/messages"));
        letter.append(kind, from, mark);
        letter
    }

    /// `size` messages a request.
    pub(in crate::command::bench) fn batch(
        kind: Kind,
        size: usize,
        from: &str,
        mark: &str,
    ) -> Self {
        let mut letter = Self::empty(Form::Post("/v1/messages/batch"));
        letter.body.extend(b"{\"messages\":[");
        for number in 0..size {
            if number > 0 {
                letter.body.push(b',');
            }
            letter.append(kind, from, mark);
        }
        letter.body.extend(b"]}");
        letter
    }

    /// One message a GET of this path and query, in which `{to}`, `{text}` and, if it is there, `{id}`
    /// are replaced. `mark` makes ids and texts different from those of any other load.
    pub(in crate::command::bench) fn query(
        template: &str,
        accepted: u16,
        mark: &str,
    ) -> anyhow::Result<Self> {
        let mut letter = Self::empty(Form::Get { accepted });
        let (mut client, mut recipient, mut has_text) = (None, None, false);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').context("an open brace")?;
            letter.write(before);
            match name {
                "to" if recipient.is_none() => {
                    letter.write("010");
                    recipient = Some(letter.body.len());
                    letter.write("00000000");
                }
                "id" if client.is_none() => {
                    letter.write(&format!("{mark}-"));
                    client = Some(letter.body.len());
                    letter.write(&"0".repeat(CLIENT_DIGITS));
                }
                "text" if !has_text => {
                    has_text = true;
                    letter.write(&format!("{TEXT_OF_QUERY}{mark}"));
                }
                _ => bail!("{{{name}}} is unknown or there twice"),
            }
            rest = after;
        }
        letter.write(rest);
        ensure!(has_text, "there is no {{text}}");
        let recipient = recipient.context("there is no {to}")?;
        letter.places.push(Place { client, recipient });
        Uri::from_maybe_shared(letter.render(0)).context("not a path and query")?;
        Ok(letter)
    }

    /// The request whose first message has this number, the others those that follow.
    pub(super) fn request(&self, first: u64) -> Request<Full<Bytes>> {
        let rendered = self.render(first);
        let (method, uri, body) = match self.form {
            Form::Post(path) => (Method::POST, Uri::from_static(path), rendered),
            Form::Get { .. } => (Method::GET, uri(rendered), Bytes::new()),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request
    }

    /// What the answer to that request means; adds the messages' ids if all are accepted.
    pub(super) fn read(&self, first: u64, status: u16, body: &[u8], ids: &mut Vec<u64>) -> Verdict {
        match self.form {
            Form::Post(_) => answer::read(status, body, self.size(), ids),
            Form::Get { accepted } => answer::read_status(status, accepted, first, ids),
        }
    }

    /// How many messages it holds.
    pub(in crate::command::bench) fn size(&self) -> usize {
        self.places.len()
    }

    /// The body whose first message has this number, the others those that follow.
    fn render(&self, first: u64) -> Bytes {
        let mut body = self.body.clone();
        for (number, place) in (first..).zip(&self.places) {
            if let Some(client) = place.client {
                write_digits(&mut body[client..][..CLIENT_DIGITS], number);
            }
            let recipient = &mut body[place.recipient..][..8];
            write_digits(&mut recipient[..6], number / PLAIN);
            write_digits(&mut recipient[6..], number % PLAIN);
        }
        body.into()
    }

    const fn empty(form: Form) -> Self {
        Self {
            form,
            body: Vec::new(),
            places: Vec::new(),
        }
    }

    fn append(&mut self, kind: Kind, from: &str, mark: &str) {
        self.write(&format!("{{\"clientMsgId\":\"{mark}-"));
        let client = self.body.len();
        self.write(&"0".repeat(CLIENT_DIGITS));
        let (before, after) = match kind {
            Kind::Sms => ("SMS\",\"to\":\"010", format!("\",\"from\":\"{from}\"")),
            Kind::Auth => (
                "SMS\",\"purpose\":\"AUTH\",\"to\":\"010",
                format!("\",\"from\":\"{from}\""),
            ),
            Kind::Talk => (
                "NAVER_TALK\",\"to\":\"user-",
                "\",\"channel\":{\"talkId\":\"w4abcd\"}".to_owned(),
            ),
        };
        self.write(&format!("\",\"type\":\"{before}"));
        let recipient = self.body.len();
        self.write("00000000");
        self.write(&format!("{after},\"text\":\"{TEXT}\"}}"));
        self.places.push(Place {
            client: Some(client),
            recipient,
        });
    }

    fn write(&mut self, text: &str) {
        self.body.extend(text.as_bytes());
    }
}

/// The sender number of partners that a bench adds itself.
pub(in crate::command::bench) const OWN_SENDER: &str = SENDER;

/// Of a query that was one when it was made; another number changes digits alone.
fn uri(query: Bytes) -> Uri {
    Uri::from_maybe_shared(query).unwrap_or_else(|_| unreachable!("digits alone have changed"))
}

/// The last digits of a number, as many as there is room for.
fn write_digits(room: &mut [u8], mut number: u64) {
    for digit in room.iter_mut().rev() {
        // The remainder is below ten.
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn rendered(letter: &Letter, first: u64) -> Value {
        serde_json::from_slice(&letter.render(first)).unwrap()
    }

    #[test]
    fn only_the_client_id_and_the_recipient_change() {
        let letter = Letter::single(Kind::Sms, "0212345678", "m");
        let (mut one, mut other) = (rendered(&letter, 7), rendered(&letter, 1_234_567));
        assert_eq!(one["clientMsgId"], "m-000000000007");
        assert_eq!(other["clientMsgId"], "m-000001234567");
        assert_eq!(one["to"], "01000000007");
        assert_eq!(other["to"], "01002469117");
        for body in [&mut one, &mut other] {
            body["clientMsgId"] = Value::Null;
            body["to"] = Value::Null;
        }
        assert_eq!(one, other);
    }

    #[test]
    fn a_batch_holds_as_many_messages_as_it_says_each_with_a_number_of_its_own() {
        for kind in [Kind::Sms, Kind::Auth, Kind::Talk] {
            let letter = Letter::batch(kind, 3, "0212345678", "m");
            assert_eq!(letter.size(), 3);
            let body = rendered(&letter, 98);
            let ids = body["messages"].as_array().unwrap().iter();
            let ids: Vec<_> = ids.map(|one| one["clientMsgId"].clone()).collect();
            assert_eq!(ids, ["m-000000000098", "m-000000000099", "m-000000000100"]);
        }
    }

    #[test]
    fn every_recipient_is_plainly_delivered() {
        let letter = Letter::single(Kind::Sms, "0212345678", "m");
        for number in 0..200 {
            let body = rendered(&letter, number);
            let to = body["to"].as_str().unwrap();
            assert_eq!(to.len(), 11, "{to}");
            assert!(to[9..].parse::<u64>().unwrap() < PLAIN, "{to}");
        }
    }

    #[test]
    fn a_query_is_its_template_with_number_text_and_id_filled_in() {
        let template = "/send?to={to}&text={text}&dlr-url=http%3A%2F%2Fh%2F%3Fid%3D{id}%26s%3D1";
        let letter = Letter::query(template, 202, "m").unwrap();
        assert_eq!(letter.size(), 1);
        let request = letter.request(1_234_567);
        assert_eq!(request.method(), Method::GET);
        assert_eq!(
            request.uri().to_string(),
            "/send?to=01002469117&text=Hello%20from%20the%20bench%20m\
             &dlr-url=http%3A%2F%2Fh%2F%3Fid%3Dm-000001234567%26s%3D1"
        );
        let mut ids = Vec::new();
        assert_eq!(letter.read(7, 202, b"any", &mut ids), Verdict::Accepted);
        assert_eq!(ids, [7]);
    }

    #[test]
    fn a_query_may_do_without_an_id_but_not_without_number_and_text() {
        let letter = Letter::query("/send?to={to}&text={text}", 200, "m").unwrap();
        let uri = letter.request(3).uri().to_string();
        assert_eq!(
            uri,
            "/send?to=01000000003&text=Hello%20from%20the%20bench%20m"
        );
        for wrong in [
            "/send?to={to}",
            "/send?text={text}",
            "/send?to={to}&text={text}&more={more}",
            "/send?to={to}&to={to}&text={text}",
            "/send?to={to}&text={text}&id={id",
            "/send?a b={to}&text={text}",
        ] {
            assert!(Letter::query(wrong, 200, "m").is_err(), "{wrong}");
        }
    }
}

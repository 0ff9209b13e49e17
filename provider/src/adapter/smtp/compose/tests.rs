use std::collections::BTreeMap;

use pabal_common::domain::id::MessageId;
use pabal_common::domain::kind::{MessageType, Purpose};
use pabal_common::domain::message::Content;
use proptest::prelude::*;

use super::*;

fn outgoing(content: Content) -> Outgoing {
    Outgoing {
        // 2026-11-21T22:00:00Z.
        id: MessageId::from_number(217_461_600_000 << 22 | 7),
        kind: MessageType::Email,
        purpose: Purpose::Info,
        content,
        attachments: Vec::new(),
    }
}

fn content() -> Content {
    Content {
        to: "kim@mail.example".to_owned(),
        from: Some("shop@shop.example".to_owned()),
        subject: Some("Shipped".to_owned()),
        text: "Your order is on its way.".to_owned(),
        ..Content::default()
    }
}

/// What goes over the wire, with dots as they were.
fn written(outgoing: &Outgoing) -> Result<String, Unwritable> {
    let mail = compose(outgoing, &Signers::default())?;
    Ok(String::from_utf8(mail.data.octets().to_vec()).unwrap())
}

/// The header fields of a mail, unfolded.
fn fields(mail: &str) -> Vec<(String, String)> {
    let (head, _) = mail.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        (name.to_owned(), value.to_owned())
    };
    head.split("\r\n").map(pair).collect()
}

#[test]
fn a_plain_mail_is_written_like_this() {
    let mail = written(&outgoing(content())).unwrap();
    let id = outgoing(content()).id;
    let expected = format!(
        "From: <shop@shop.example>\r\n\
         To: <kim@mail.example>\r\n\
         Subject: Shipped\r\n\
         Date: Sat, 21 Nov 2026 22:00:00 +0000\r\n\
         Message-ID: <{id}@shop.example>\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=\"utf-8\"\r\n\
         Content-Transfer-Encoding: 7bit\r\n\
         \r\n\
         Your order is on its way.\r\n"
    );
    assert_eq!(mail, expected);
}

#[test]
fn text_html_and_a_file_stand_one_inside_the_other_and_arrive_as_they_were() {
    let file = Attachment {
        media_type: "text/plain".to_owned(),
        name: Some("영수증.txt".to_owned()),
        bytes: vec![b'a', b'\r', b'b', b'\n', 0].into(),
    };
    let mut outgoing = outgoing(Content {
        text: "안녕하세요.\n.\n".to_owned(),
        html: Some("<p>안녕하세요</p>".to_owned()),
        from: Some("파발 가게 <shop@shop.example>".to_owned()),
        subject: Some("주문하신 상품이 발송되었습니다".to_owned()),
        ..content()
    });
    outgoing.attachments.push(file.clone());
    let mail = compose(&outgoing, &Signers::default()).unwrap();
    let parsed = mail_parser::MessageParser::default();
    let parsed = parsed.parse(mail.data.octets()).unwrap();
    assert_eq!(parsed.subject(), Some("주문하신 상품이 발송되었습니다"));
    let from = parsed.from().unwrap().first().unwrap();
    assert_eq!(from.name.as_deref(), Some("파발 가게"));
    assert_eq!(parsed.body_text(0).unwrap(), "안녕하세요.\r\n.\r\n");
    assert_eq!(parsed.body_html(0).unwrap(), "<p>안녕하세요</p>\r\n");
    let attachment = parsed.attachment(0).unwrap();
    assert_eq!(attachment.contents(), &file.bytes[..]);
    let types: Vec<_> = parsed
        .parts
        .iter()
        .filter_map(|part| mail_parser::MimeHeaders::content_type(part))
        .map(|one| format!("{}/{}", one.ctype(), one.subtype().unwrap_or_default()))
        .collect();
    assert_eq!(
        types,
        [
            "multipart/mixed",
            "multipart/alternative",
            "text/plain",
            "text/html",
            "text/plain"
        ]
    );
}

#[test]
fn a_list_that_is_left_by_https_is_left_by_one_click() {
    let of = |value: &str| {
        let headers = BTreeMap::from([("list-unsubscribe".to_owned(), value.to_owned())]);
        fields(
            &written(&outgoing(Content {
                headers,
                ..content()
            }))
            .unwrap(),
        )
    };
    let click = (
        "List-Unsubscribe-Post".to_owned(),
        "List-Unsubscribe=One-Click".to_owned(),
    );
    assert!(of("<https://shop.example/leave/1>").contains(&click));
    assert!(!of("<mailto:leave@shop.example>").contains(&click));
}

#[test]
fn what_says_more_than_it_may_is_not_written() {
    let with = |change: fn(&mut Content)| {
        let mut content = content();
        change(&mut content);
        written(&outgoing(content)).err()
    };
    assert_eq!(
        with(|c| c.from = None),
        Some(Unwritable::Address(NotAnAddress))
    );
    let two = |c: &mut Content| c.to = "a@b.example, c@d.example".to_owned();
    assert_eq!(with(two), Some(Unwritable::Address(NotAnAddress)));
    let command = |c: &mut Content| c.to = "a@b.example>\r\nDATA".to_owned();
    assert_eq!(with(command), Some(Unwritable::Address(NotAnAddress)));
    let bcc = |c: &mut Content| {
        c.headers.insert("Bcc".to_owned(), "c@d.example".to_owned());
    };
    assert_eq!(with(bcc), Some(Unwritable::Header));
    let fold = |c: &mut Content| {
        c.headers
            .insert("X-A".to_owned(), "a\r\nBcc: c@d.example".to_owned());
    };
    assert_eq!(with(fold), Some(Unwritable::Header));
    let injected = |c: &mut Content| c.subject = Some("a\r\nBcc: c@d.example".to_owned());
    assert_eq!(with(injected), None);
}

#[test]
fn a_subject_with_a_line_break_adds_no_header() {
    let subject = Some("a\r\nBcc: c@d.example\n\nbody".to_owned());
    let mail = written(&outgoing(Content {
        subject,
        ..content()
    }))
    .unwrap();
    assert!(
        fields(&mail).iter().all(|(name, _)| name != "Bcc"),
        "{mail}"
    );
    assert!(mail.ends_with("\r\n\r\nYour order is on its way.\r\n"));
}

proptest! {
    #[test]
    fn whatever_is_written_has_only_our_headers_and_lines_that_every_server_takes(
        subject in "(\\PC|[\r\n\t]|Bcc: |=\\?){0,60}",
        text in "([a-z. ]|\r|\n|\r\n|\n\\.|가|\u{1F600}){0,120}",
        html in prop::option::of("([a-z<>. ]|\n|가){0,200}"),
        name in "\\PC{0,40}",
        value in "\\PC{1,900}",
        file in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        long in 0_usize..3000,
    ) {
        let content = Content {
            subject: Some(subject),
            text: text + &"x".repeat(long),
            html,
            from: Some(format!("{} <shop@shop.example>", name.replace(['<', '>', '"', '\\'], ""))),
            headers: BTreeMap::from([("X-Campaign".to_owned(), value)]),
            ..content()
        };
        let mut outgoing = outgoing(content);
        outgoing.attachments.extend(file.map(|bytes| Attachment {
            media_type: "image/png".to_owned(),
            name: Some(name),
            bytes: bytes.into(),
        }));
        match written(&outgoing) {
            Ok(mail) => {
                let allowed = [
                    "From", "To", "Subject", "Date", "Message-ID", "X-Campaign", "MIME-Version",
                    "Content-Type", "Content-Transfer-Encoding",
                ];
                for (name, _) in fields(&mail) {
                    prop_assert!(allowed.contains(&name.as_str()), "{}", name);
                }
            }
            // A value of blanks, a name of control characters or one that is too long.
            Err(Unwritable::Header | Unwritable::Address(_)) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}

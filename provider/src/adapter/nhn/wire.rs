//! Values that NHN writes in more than one way.

use pabal_common::domain::report::VendorMessageId;
use serde::Deserialize;

/// A code or a sequence number: a JSON number or the same as text, by the page of the documentation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Word {
    Number(i64),
    Text(String),
}

impl Word {
    /// As text, without blanks around it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.trim().to_owned(),
        }
    }

    fn number(&self) -> Option<u32> {
        self.text().parse().ok()
    }
}

/// A message's key at NHN in one notation: `requestId:recipientSeq`. Request ids tell upper from
/// lower case.
pub(super) fn vendor_id(request: Option<&str>, seq: Option<&Word>) -> Option<VendorMessageId> {
    let request = request?.trim();
    let plain = request.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if request.is_empty() || !plain {
        return None;
    }
    VendorMessageId::new(&format!("{request}:{}", seq?.number()?))
}

/// The `requestId` in [`vendor_id`].
pub(super) fn request_of(id: &VendorMessageId) -> Option<&str> {
    id.as_str().split_once(':').map(|(request, _)| request)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_notation_of_a_key_is_the_same_key(request in "[0-9A-Za-z]{1,40}", seq: u32) {
            let expected = vendor_id(Some(&request), Some(&Word::Number(seq.into())));
            let told = expected.as_ref().unwrap();
            prop_assert_eq!(request_of(told), Some(request.as_str()));
            let padded = format!(" {request} ");
            for seq in [seq.to_string(), format!("{seq:012}"), format!(" {seq} ")] {
                let seq = Word::Text(seq);
                prop_assert_eq!(&vendor_id(Some(&padded), Some(&seq)), &expected);
            }
        }

        #[test]
        fn any_text_is_a_key_or_none(request in "\\PC{0,200}", seq in "\\PC{0,20}") {
            if let Some(id) = vendor_id(Some(&request), Some(&Word::Text(seq))) {
                prop_assert!(id.as_str().len() <= VendorMessageId::MAX);
            }
        }
    }

    #[test]
    fn two_keys_that_differ_in_case_are_two_messages() {
        let key = |request| vendor_id(Some(request), Some(&Word::Number(1)));
        assert_ne!(
            key("20180810100630ReZQ6KZzAH0"),
            key("20180810100630rezq6kzzah0")
        );
        assert_eq!(key(""), None);
        assert_eq!(key("a:b"), None);
    }
}

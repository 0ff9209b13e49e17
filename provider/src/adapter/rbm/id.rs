//! Our id as the vendor wants one: a UUID that holds it.
//!
//! The platform takes UUIDs alone and ignores a message whose id it has seen before at this agent
//! (reference of `phones.agentMessages.create`). A UUID of version 8 (RFC 9562 §5.8) has room for
//! our 64 bits and a mark by which an event of somebody else's message is told apart.

use pabal_common::domain::id::MessageId;
use pabal_common::domain::report::VendorMessageId;

/// The last 58 bits of every id of ours: "pabal".
const MARK: u128 = 0x70_61_62_61_6c;
const MARK_BITS: u32 = 58;
/// Version 8 and the variant of RFC 9562, in their places.
const FORM: u128 = 0x8 << 76 | 0b10 << 62;
const FORM_BITS: u128 = 0xf << 76 | 0b11 << 62;

/// The UUID that holds `id`, in lower case.
pub(super) fn uuid(id: MessageId) -> String {
    let number = u128::from(id.number());
    let (high, middle, low) = (number >> 16, number >> 4 & 0xfff, number & 0xf);
    let bits = high << 80 | middle << 64 | low << MARK_BITS | FORM | MARK;
    let hex = format!("{bits:032x}");
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

/// The id in a UUID of ours, in either case; `None` if it is another's.
pub(super) fn ours(uuid: &str) -> Option<MessageId> {
    let groups: Vec<_> = uuid.split('-').map(str::len).collect();
    let hex = uuid.replace('-', "");
    if groups != [8, 4, 4, 4, 12] || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bits = u128::from_str_radix(&hex, 16).ok()?;
    let mark = bits & ((1 << MARK_BITS) - 1);
    if bits & FORM_BITS != FORM || mark != MARK {
        return None;
    }
    let number = (bits >> 80) << 16 | (bits >> 64 & 0xfff) << 4 | bits >> MARK_BITS & 0xf;
    u64::try_from(number).ok().map(MessageId::from_number)
}

/// The vendor's id of our message: the same.
pub(super) fn vendor_id(id: MessageId) -> Option<VendorMessageId> {
    VendorMessageId::new(&uuid(id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_8() {
        let uuid = uuid(MessageId::from_number(0x1234_5678_9abc_def0));
        assert_eq!(uuid, "12345678-9abc-8def-8000-00706162616c");
    }

    #[test]
    fn the_id_of_somebody_elses_message_is_not_ours() {
        for other in [
            "",
            "-",
            "ddc0bf8b-6b3d-4a7f-8e52-4b58e1a3d8c1",
            "12345678-9abc-7def-8000-00706162616c",
            "12345678-9abc-8def-c000-00706162616c",
            "12345678-9abc-8def-8000-00706162616d",
            "123456789abc8def800000706162616c",
            "+2345678-9abc-8def-8000-00706162616c",
        ] {
            assert_eq!(ours(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_id_comes_back_from_its_uuid_in_either_case(number: u64) {
            let id = MessageId::from_number(number);
            prop_assert_eq!(ours(&uuid(id)), Some(id));
            prop_assert_eq!(ours(&uuid(id).to_uppercase()), Some(id));
        }

        #[test]
        fn any_text_is_an_id_or_none_but_never_a_panic(text in "\\PC{0,60}") {
            let _ = ours(&text);
        }
    }
}

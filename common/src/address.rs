//! Which addresses belong to the public internet, and which to a house.
//!
//! Whoever connects to an address that somebody else chose asks here first: a webhook's endpoint, a mail
//! server behind a recipient's domain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address belongs to the public internet, for either version.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Networks of IPv4 that are nobody's public server (IANA special-purpose registry), and the
/// metadata services of clouds where those are not inside one of them already.
const FORBIDDEN_V4: [(Ipv4Addr, u32); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),        // this network
    (Ipv4Addr::new(10, 0, 0, 0), 8),       // private
    (Ipv4Addr::new(100, 64, 0, 0), 10),    // shared with the carrier's NAT
    (Ipv4Addr::new(127, 0, 0, 0), 8),      // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's host agent
    (Ipv4Addr::new(169, 254, 0, 0), 16),   // link-local, with most metadata services
    (Ipv4Addr::new(172, 16, 0, 0), 12),    // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),     // protocol assignments
    (Ipv4Addr::new(192, 0, 2, 0), 24),     // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24),   // 6to4 relays
    (Ipv4Addr::new(192, 168, 0, 0), 16),   // private
    (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24),  // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),   // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 4),      // multicast
    (Ipv4Addr::new(240, 0, 0, 0), 4),      // reserved, broadcast
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    !FORBIDDEN_V4.iter().any(|&(network, length)| {
        let mask = u32::MAX << (32 - length);
        address.to_bits() & mask == network.to_bits()
    })
}

/// Only global unicast (2000::/3) is public, less what is set aside inside it; an address that
/// wraps an IPv4 address is as public as that one.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let low = |bits: u128| Ipv4Addr::from_bits(bits as u32);
    let bits = address.to_bits();
    match address.segments() {
        // IPv4-mapped
        [0, 0, 0, 0, 0, 0xffff, ..] => is_public_v4(low(bits)),
        // NAT64: what networks without IPv4 reach everyone else by
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(low(bits)),
        // 6to4
        [0x2002, ..] => is_public_v4(low(bits >> 80)),
        // Teredo: the server in clear, the client's address inverted
        [0x2001, 0, ..] => is_public_v4(low(bits >> 64)) && is_public_v4(low(!bits)),
        // other protocol assignments, 2001::/23; documentation
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_teredo_address_is_as_public_as_both_its_ends() {
        let teredo = |server: Ipv4Addr, client: Ipv4Addr| {
            let bits = 0x2001_u128 << 112
                | u128::from(server.to_bits()) << 64
                | u128::from(!client.to_bits());
            is_public_v6(Ipv6Addr::from_bits(bits))
        };
        let (public, private) = (Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(10, 0, 0, 1));
        assert!(teredo(public, public));
        assert!(!teredo(private, public));
        assert!(!teredo(public, private));
    }

    /// What the standard library says of IPv4 addresses, and the networks it has no word for.
    fn special_v4(address: Ipv4Addr) -> bool {
        let [a, b, c, _] = address.octets();
        address.is_private()
            || address.is_loopback()
            || address.is_link_local()
            || address.is_multicast()
            || address.is_broadcast()
            || address.is_documentation()
            || a == 0
            || a >= 240
            || (a == 100 && (64..128).contains(&b))
            || (a == 198 && (b == 18 || b == 19))
            || (a == 192 && b == 0 && c == 0)
            || (a == 192 && b == 88 && c == 99)
            || address == Ipv4Addr::new(168, 63, 129, 16)
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_the_standard_library(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(is_public_v4(address), !special_v4(address));
        }

        #[test]
        fn the_table_agrees_near_the_edges(network in 0_usize..16, offset in -3_i64..3, end: bool) {
            let (start, length) = FORBIDDEN_V4[network];
            let size = 1_i64 << (32 - length);
            let at = i64::from(start.to_bits()) + if end { size } else { 0 } + offset;
            if let Ok(bits) = u32::try_from(at) {
                let address = Ipv4Addr::from_bits(bits);
                prop_assert_eq!(is_public_v4(address), !special_v4(address));
            }
        }

        #[test]
        fn wrapping_an_address_never_changes_the_verdict(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let low = u128::from(bits);
            let wrapped = [
                v4.to_ipv6_mapped(),
                Ipv6Addr::from_bits(0x0064_ff9b_u128 << 96 | low),
                Ipv6Addr::from_bits(0x2002_u128 << 112 | low << 80 | 1),
            ];
            for address in wrapped {
                prop_assert_eq!(is_public_v6(address), is_public_v4(v4), "{}", address);
            }
        }

        #[test]
        fn nothing_outside_global_unicast_is_public(bits: u128) {
            let address = Ipv6Addr::from_bits(bits);
            let special = address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unique_local()
                || address.is_unicast_link_local();
            prop_assert!(!(special && is_public_v6(address)));
            let wraps = address.to_ipv4_mapped().is_some() || bits >> 32 == 0x0064_ff9b << 64;
            if bits >> 125 != 1 && !wraps {
                prop_assert!(!is_public_v6(address));
            }
        }
    }
}

use std::net::IpAddr;
use std::sync::Arc;

use quipu::access::Caller;

/// Whom a limit is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A caller with a name.
    Name(Arc<str>),
    /// All callers without a name that share an address.
    Address(Network),
    /// All callers of a tenant together.
    Tenant,
}

/// An address of IPv4, or the network of an address of IPv6: one client has all addresses of its
/// /64. Zero if the address is not known.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(u128);

impl Key {
    pub fn of(caller: &Caller, peer: Option<IpAddr>) -> Self {
        match caller.name() {
            Some(name) => Self::Name(name),
            None => Self::Address(Network::of(peer)),
        }
    }
}

impl Network {
    pub fn of(peer: Option<IpAddr>) -> Self {
        Self(match peer.map(|peer| peer.to_canonical()) {
            None => 0,
            Some(IpAddr::V4(peer)) => peer.to_ipv6_mapped().to_bits(),
            Some(IpAddr::V6(peer)) => peer.to_bits() & !u128::from(u64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv4_and_a_network_of_ipv6_are_one_client() {
        let of = |text: &str| Network::of(Some(text.parse().unwrap()));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.2"), of("10.0.0.1"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8::1"));
        assert_eq!(Network::of(None), Network::default());
    }
}

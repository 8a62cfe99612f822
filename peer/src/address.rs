//! Which addresses are worth keeping: pure rules over multiaddrs and IP addresses.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use glia_protocol::PeerId;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// How far an address reaches; a wider one is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// This machine.
    Machine,
    /// This site (private networks).
    Site,
    /// Everywhere.
    World,
}

/// How far `ip` reaches; `None` for addresses nobody can be called at.
pub(crate) fn reach(ip: IpAddr) -> Option<Reach> {
    let ip = ip.to_canonical();
    if ip.is_unspecified() || ip.is_multicast() {
        return None;
    }
    match ip {
        _ if ip.is_loopback() => Some(Reach::Machine),
        IpAddr::V4(v4) if v4.is_broadcast() || v4.is_link_local() => None,
        IpAddr::V4(v4) if v4.is_private() || v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64 => Some(Reach::Site),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => None,
        IpAddr::V6(v6) if v6.is_unique_local() => Some(Reach::Site),
        _ => Some(Reach::World),
    }
}

/// The IP address a multiaddr begins with.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// Whether `address`, claimed by a peer that we see at `seen`, may enter the routing table: QUIC or TCP on an IP
/// address with a port, and no narrower in reach than what we see (a peer across the internet has no business in
/// our loopback or site network).
pub(crate) fn is_routable(address: &Multiaddr, seen: &Multiaddr) -> bool {
    let claimed = ip_of(address).and_then(reach);
    let least = ip_of(seen).and_then(reach);
    let (Some(claimed), Some(least)) = (claimed, least) else { return false };
    claimed >= least && transport_of(address).is_some()
}

/// What a multiaddr speaks after its IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TransportKind {
    Quic,
    Tcp,
}

/// Transport and port of a plain `/ip…/udp/…/quic-v1` or `/ip…/tcp/…` address, with or without `/p2p/…`.
pub(crate) fn transport_of(address: &Multiaddr) -> Option<(TransportKind, u16)> {
    let mut parts = address.iter().skip(1).filter(|p| !matches!(p, Protocol::P2p(_)));
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Udp(port)), Some(Protocol::QuicV1), None) if port != 0 => Some((TransportKind::Quic, port)),
        (Some(Protocol::Tcp(port)), None, None) if port != 0 => Some((TransportKind::Tcp, port)),
        _ => None,
    }
}

/// The multiaddr of a socket address.
pub(crate) fn multiaddr(kind: TransportKind, address: SocketAddr) -> Multiaddr {
    let base = Multiaddr::from(address.ip());
    match kind {
        TransportKind::Quic => base.with(Protocol::Udp(address.port())).with(Protocol::QuicV1),
        TransportKind::Tcp => base.with(Protocol::Tcp(address.port())),
    }
}

/// Addresses of the tensor endpoint for descriptors: the bound one, or, when it is bound to all interfaces, its port
/// on every known address of this machine, widest reach first; loopback only if there is nothing else.
pub(crate) fn data_addresses(bound: SocketAddr, known: &BTreeSet<IpAddr>, max: usize) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let mut ips: Vec<(Reach, IpAddr)> = known
        .iter()
        .filter(|ip| ip.is_ipv4() || bound.is_ipv6())
        .filter_map(|&ip| reach(ip).map(|reach| (reach, ip)))
        .collect();
    ips.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    if ips.iter().any(|(reach, _)| *reach > Reach::Machine) {
        ips.retain(|(reach, _)| *reach > Reach::Machine);
    }
    ips.into_iter().take(max).map(|(_, ip)| SocketAddr::new(ip, bound.port())).collect()
}

/// Peers that must agree on an address before we believe it is ours.
const WITNESSES: usize = 3;
/// Addresses under observation.
const MAX_OBSERVED: usize = 64;

/// Counts at which public IP address others see us.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    seen: HashMap<IpAddr, BTreeSet<PeerId>>,
}

impl Observations {
    /// Notes that `witness` sees us at `ip`; true when that makes it believable for the first time.
    pub(crate) fn note(&mut self, witness: PeerId, ip: IpAddr) -> bool {
        if reach(ip) != Some(Reach::World) || self.seen.len() >= MAX_OBSERVED && !self.seen.contains_key(&ip) {
            return false;
        }
        let witnesses = self.seen.entry(ip).or_default();
        witnesses.len() < WITNESSES && witnesses.insert(witness) && witnesses.len() == WITNESSES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn m(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_far_peer_cannot_send_us_into_our_own_network() {
        let seen = m("/ip4/8.8.8.8/udp/4001/quic-v1");
        assert!(is_routable(&m("/ip4/8.8.4.4/tcp/4001"), &seen));
        for narrow in ["/ip4/127.0.0.1/tcp/22", "/ip4/192.168.0.1/tcp/80", "/ip6/::1/tcp/1", "/ip4/100.64.0.1/tcp/1"] {
            assert!(!is_routable(&m(narrow), &seen), "{narrow}");
        }
    }

    #[test]
    fn a_local_mesh_may_use_loopback() {
        let seen = m("/ip4/127.0.0.1/udp/4001/quic-v1");
        assert!(is_routable(&m("/ip4/127.0.0.1/udp/5001/quic-v1"), &seen));
        assert!(is_routable(&m("/ip4/8.8.8.8/udp/5001/quic-v1"), &seen));
    }

    #[test]
    fn only_plain_quic_and_tcp_are_routable() {
        let seen = m("/ip4/127.0.0.1/tcp/1");
        for odd in [
            "/ip4/127.0.0.1/udp/1",
            "/ip4/127.0.0.1/tcp/0",
            "/ip4/127.0.0.1/tcp/1/ws",
            "/dns4/example.org/tcp/1",
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/224.0.0.1/udp/1/quic-v1",
            "/memory/1",
        ] {
            assert!(!is_routable(&m(odd), &seen), "{odd}");
        }
    }

    #[test]
    fn a_wildcard_endpoint_is_described_by_interface_addresses() {
        let known: BTreeSet<IpAddr> =
            ["127.0.0.1", "192.168.1.5", "9.9.9.9", "fe80::1", "2001:db8::1"].map(|ip| ip.parse().unwrap()).into();
        let four = data_addresses("0.0.0.0:7".parse().unwrap(), &known, 8);
        assert_eq!(four, ["9.9.9.9:7", "192.168.1.5:7"].map(|a| a.parse().unwrap()));
        assert_eq!(data_addresses("[::]:7".parse().unwrap(), &known, 8).len(), 3);
        let alone: BTreeSet<IpAddr> = ["127.0.0.1".parse().unwrap()].into();
        assert_eq!(data_addresses("0.0.0.0:7".parse().unwrap(), &alone, 8), ["127.0.0.1:7".parse().unwrap()]);
        assert_eq!(data_addresses("10.0.0.1:7".parse().unwrap(), &known, 8), ["10.0.0.1:7".parse().unwrap()]);
    }

    #[test]
    fn one_witness_does_not_give_us_an_address() {
        let mut observations = Observations::default();
        let ip = "9.9.9.9".parse().unwrap();
        let peer = |n| PeerId([n; 32]);
        assert!(!observations.note(peer(1), ip));
        assert!(!observations.note(peer(1), ip));
        assert!(!observations.note(peer(2), ip));
        assert!(observations.note(peer(3), ip));
        assert!(!observations.note(peer(4), ip), "it is told once");
        assert!(!observations.note(peer(5), "127.0.0.1".parse().unwrap()));
    }
}

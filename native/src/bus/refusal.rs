//! What the bus turns away, why, and how often.
//!
//! Whoever reaches the port can make it refuse as often as they like: they must not fill the log by it.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::tls;

/// Refusals of one kind are logged this often at most; the others are counted.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// And of a kind that goes on, ever more seldom, down to this.
const LOG_SELDOM: Duration = Duration::from_secs(60);

/// Why a connection was turned away or cut. The numbers are those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// The peer speaks another version of the protocol.
    Version = 1,
    /// One of the two has a secret and the other has none.
    Secret = 2,
    /// The peer does not know the secret that it should know.
    Proof = 3,
    /// The peer is this node itself, or a copy of its store.
    Itself = 4,
    /// Another node than the one that should be at this address.
    Stranger = 5,
    /// What was said is no handshake.
    Malformed = 6,
    /// There are too many connections that have not shown who they are, or too many unknown nodes.
    Crowded = 7,
    /// Nothing was heard for too long.
    Silent = 8,
    /// A frame is longer than frames are.
    TooLong = 9,
    /// A frame is not what its peer has sent.
    Damaged = 10,
    /// A frame holds no packet, or none of its peer for this node.
    Packet = 11,
    /// One of the two speaks TLS and the other does not.
    Tls = 12,
    /// The peer has no certificate that one of the cluster's authorities has signed.
    Certificate = 13,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Version,
        Self::Secret,
        Self::Proof,
        Self::Itself,
        Self::Stranger,
        Self::Malformed,
        Self::Crowded,
        Self::Silent,
        Self::TooLong,
        Self::Damaged,
        Self::Packet,
        Self::Tls,
        Self::Certificate,
    ];

    /// A stable name, for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Secret => "secret",
            Self::Proof => "proof",
            Self::Itself => "itself",
            Self::Stranger => "stranger",
            Self::Malformed => "malformed",
            Self::Crowded => "crowded",
            Self::Silent => "silent",
            Self::TooLong => "too_long",
            Self::Damaged => "damaged",
            Self::Packet => "packet",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Version => "it speaks another version of the bus's protocol",
            Self::Secret => "only one of the two nodes has a secret",
            Self::Proof => "its secret is another",
            Self::Itself => "it is this node itself, or a copy of its store",
            Self::Stranger => "it is not the node that should be there",
            Self::Malformed => "it does not speak the bus's protocol",
            Self::Crowded => "there are too many connections",
            Self::Silent => "nothing was heard for too long",
            Self::TooLong => "a frame is too long",
            Self::Damaged => "a frame is damaged",
            Self::Packet => "a frame holds no packet for this node",
            Self::Tls => "only one of the two nodes has a certificate",
            Self::Certificate => "its certificate is none of this cluster",
        }
    }

    /// What to do about it.
    fn advice(self) -> &'static str {
        match self {
            Self::Version => "run the same version of trilith on both nodes",
            Self::Secret | Self::Proof => "give all nodes the same --secret-file",
            Self::Itself => "a copy of a store is no other node: start it with an empty directory",
            Self::Stranger => "see whether two nodes announce the same address",
            Self::Malformed => "see who speaks to this port: it is for nodes of this cluster only",
            Self::Crowded => "see who holds connections to this port open",
            Self::Silent => {
                "see whether the network loses what is sent, or who connects and says nothing"
            }
            Self::TooLong | Self::Damaged | Self::Packet => {
                "see whether it is a node of this cluster and of this version"
            }
            Self::Tls => "give all nodes --bus-tls-cert, --bus-tls-key and --bus-tls-ca, or none",
            Self::Certificate => {
                "give it a certificate that is valid now, for servers and clients, of an authority in --bus-tls-ca"
            }
        }
    }

    pub(super) fn of_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| *refusal as u8 == code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// Why a connection has ended.
#[derive(Debug)]
pub(super) enum Broken {
    /// It was lost, or the peer has closed it.
    Lost(io::Error),
    /// This node does not want it; what there is to say besides the reason.
    Refused(Refusal, String),
    /// The peer does not want it.
    RefusedBy(Option<Refusal>),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        tls::judge(&error).unwrap_or(Self::Lost(error))
    }
}

impl Broken {
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self::Refused(refusal, String::new())
    }

    /// The peer has closed the connection.
    pub(super) fn closed() -> Self {
        Self::Lost(io::ErrorKind::UnexpectedEof.into())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the peer has closed the connection")
            }
            Self::Lost(error) => write!(f, "{error}"),
            Self::Refused(refusal, detail) if detail.is_empty() => {
                write!(f, "{refusal} ({})", refusal.advice())
            }
            Self::Refused(refusal, detail) => {
                write!(f, "{refusal}: {detail} ({})", refusal.advice())
            }
            Self::RefusedBy(Some(refusal)) => {
                write!(
                    f,
                    "the peer refuses this node: from where it stands, {refusal} ({})",
                    refusal.advice()
                )
            }
            Self::RefusedBy(None) => {
                f.write_str("the peer refuses this node, for a reason of a newer version")
            }
        }
    }
}

/// Counts of refusals.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    counts: [AtomicU64; Refusal::ALL.len()],
    logged: Mutex<[Seldom; Refusal::ALL.len()]>,
}

impl Refusals {
    /// Counts what was refused here and logs it, unless the like was logged a moment ago.
    pub(super) fn note(&self, peer: &dyn fmt::Display, broken: &Broken) {
        let Broken::Refused(refusal, _) = broken else {
            return;
        };
        let place = *refusal as usize - 1;
        let count = self.counts[place].fetch_add(1, Relaxed) + 1;
        if self.logged.lock()[place].is_due(Instant::now()) {
            tracing::warn!(%peer, count, "a node was refused: {broken}");
        }
    }

    /// How often each has happened.
    pub(super) fn counts(&self) -> Vec<(Refusal, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        Refusal::ALL.into_iter().zip(counts).collect()
    }
}

/// When something that may happen without end was last said: what goes on is said ever more seldom.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seldom {
    last: Option<Instant>,
    pause: Duration,
}

impl Seldom {
    /// Whether to say it now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let since = self.last.map(|last| now.duration_since(last));
        if since.is_some_and(|since| since < self.pause) {
            return false;
        }
        let is_new = since.is_none_or(|since| since > LOG_SELDOM + self.pause);
        self.pause = match is_new {
            true => LOG_EVERY,
            false => (self.pause * 2).min(LOG_SELDOM),
        };
        self.last = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_said_ever_more_seldom() {
        let mut seldom = Seldom::default();
        let start = Instant::now();
        let hour = (0..36_000).map(|tenth| start + Duration::from_millis(100 * tenth));
        let said = hour.filter(|now| seldom.is_due(*now)).count();
        assert!((60..70).contains(&said), "{said}");
        // After a while without any it is news again.
        let later = start + Duration::from_secs(2 * 3600);
        assert!(seldom.is_due(later));
        assert!(!seldom.is_due(later + LOG_EVERY / 2));
        assert!(seldom.is_due(later + LOG_EVERY));
    }

    #[test]
    fn each_refusal_has_its_number_and_its_place() {
        for (place, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, place + 1);
            assert_eq!(Refusal::of_code(refusal as u8), Some(refusal));
        }
        assert_eq!(Refusal::of_code(0), None);
    }

    #[test]
    fn refusals_are_counted_even_when_they_are_not_logged() {
        let refusals = Refusals::default();
        for _ in 0..3 {
            refusals.note(&"somebody", &Broken::refused(Refusal::Packet));
        }
        refusals.note(&"somebody", &Broken::closed());
        let counted: Vec<_> = refusals
            .counts()
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .collect();
        assert_eq!(counted, [(Refusal::Packet, 3)]);
    }
}

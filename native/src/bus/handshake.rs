//! How two nodes make each other's acquaintance, before anything else is read.
//!
//! Who has the cluster's secret proves that it knows it, over both sides' words, so that nothing that was once
//! heard can be said again by somebody else. The dialler proves it first: who merely connects learns nothing that
//! a guess at the secret could be checked against. docs/format.md draws it byte by byte.

use std::time::Duration;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use trilith::ring::NodeId;

use super::frame::Seal;
use super::refusal::{Broken, Refusal};
use super::secret::{Key, Secret, keyed};
use super::stream::Stream;
use super::tls::{HANDSHAKE_RECORD, Tls};

/// The version of the protocol that this node speaks.
pub const PROTOCOL: u16 = 1;

pub(super) const MAGIC: [u8; 8] = *b"TRILBUS\n";

/// Magic, version and status: the same in every version.
const HEAD_BYTES: usize = 11;
/// What follows up to the address.
const BODY_BYTES: usize = 42;
const NONCE_BYTES: usize = 32;
const PROOF_BYTES: usize = 32;

/// The status of who goes on.
const GO_ON: u8 = 0;

/// The sender has a secret.
const SECRET: u8 = 1;
/// Nothing follows the handshake: the dialler wants to know who is there.
const INTRODUCTION: u8 = 2;

/// What is proved or derived; none is the beginning of another.
const DIALLER_PROVES: &[u8] = b"trilith bus: the dialler's proof\0";
const ACCEPTOR_PROVES: &[u8] = b"trilith bus: the acceptor's proof\0";
const DIALLER_SEALS: &[u8] = b"trilith bus: the dialler's frames\0";
const ACCEPTOR_SEALS: &[u8] = b"trilith bus: the acceptor's frames\0";

/// What is read and thrown away after a refusal, so that it is not lost with the connection.
const LINGER_BYTES: u64 = 4096;
/// How long the other side may take to hear it.
const LINGER: Duration = Duration::from_millis(200);

/// Who this node is, to others.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) node: NodeId,
    /// Its clients' address.
    pub(super) announce: String,
    pub(super) secret: Option<Secret>,
    pub(super) tls: Option<Tls>,
}

impl Identity {
    /// Whether nobody has to show anything to be believed.
    pub(super) fn is_open(&self) -> bool {
        self.secret.is_none() && self.tls.is_none()
    }

    /// The secrets to prove oneself by, the one to use first; a single `None` without any.
    fn keys(&self) -> Vec<Option<Key>> {
        match &self.secret {
            Some(secret) => secret.keys().into_iter().map(Some).collect(),
            None => vec![None],
        }
    }
}

/// What a dialler is after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Who should be there, if that is known.
    pub(super) node: Option<NodeId>,
    /// Nothing but to learn who is there.
    pub(super) introduction: bool,
}

/// What a handshake has come to.
pub(super) struct Session {
    /// Who is there.
    pub(super) node: NodeId,
    /// Where it says that its clients reach it.
    pub(super) address: String,
    /// The dialler wanted to know who is there, and nothing else.
    pub(super) introduction: bool,
    /// For the frames of this node.
    pub(super) sends: Seal,
    /// For those of the other.
    pub(super) hears: Seal,
}

/// One side's words.
pub(super) struct Hello {
    flags: u8,
    node: NodeId,
    address: String,
    /// As they are on the wire.
    bytes: Vec<u8>,
}

impl Hello {
    fn new(identity: &Identity, introduction: bool) -> Result<Self, Broken> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(std::io::Error::other)?;
        let length = u8::try_from(identity.announce.len()).map_err(|_long| {
            let detail = "the address of this node is longer than 255 bytes";
            Broken::Refused(Refusal::Malformed, detail.into())
        })?;
        let mut flags = 0;
        if identity.secret.is_some() {
            flags |= SECRET;
        }
        if introduction {
            flags |= INTRODUCTION;
        }
        let mut bytes = head(GO_ON);
        bytes.push(flags);
        bytes.extend_from_slice(&identity.node.0.to_le_bytes());
        bytes.extend_from_slice(&nonce);
        bytes.push(length);
        bytes.extend_from_slice(identity.announce.as_bytes());
        Ok(Self {
            flags,
            node: identity.node,
            address: identity.announce.clone(),
            bytes,
        })
    }

    pub(super) async fn read(io: &mut (impl AsyncRead + Unpin)) -> Result<Self, Broken> {
        let mut bytes = vec![0; HEAD_BYTES];
        io.read_exact(&mut bytes).await?;
        let (magic, rest) = bytes.split_at(MAGIC.len());
        if magic[0] == HANDSHAKE_RECORD {
            let detail = "the other speaks TLS, and this one has no certificate";
            return Err(Broken::Refused(Refusal::Tls, detail.into()));
        }
        if magic != MAGIC {
            return Err(malformed("no magic"));
        }
        let version = u16::from_le_bytes([rest[0], rest[1]]);
        if version != PROTOCOL {
            let detail = format!("it speaks version {version}, and this node {PROTOCOL}");
            return Err(Broken::Refused(Refusal::Version, detail));
        }
        if rest[2] != GO_ON {
            return Err(Broken::RefusedBy(Refusal::of_code(rest[2])));
        }
        bytes.resize(HEAD_BYTES + BODY_BYTES, 0);
        io.read_exact(&mut bytes[HEAD_BYTES..]).await?;
        let body = &bytes[HEAD_BYTES..];
        let (flags, length) = (body[0], body[BODY_BYTES - 1]);
        if flags & !(SECRET | INTRODUCTION) != 0 {
            return Err(malformed("unknown flags"));
        }
        let mut node = [0; 8];
        node.copy_from_slice(&body[1..9]);
        let start = bytes.len();
        bytes.resize(start + usize::from(length), 0);
        io.read_exact(&mut bytes[start..]).await?;
        let address = std::str::from_utf8(&bytes[start..])
            .map_err(|_other| malformed("an address that is no text"))?;
        Ok(Self {
            flags,
            node: NodeId(u64::from_le_bytes(node)),
            address: address.to_owned(),
            bytes,
        })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

fn malformed(detail: &str) -> Broken {
    Broken::Refused(Refusal::Malformed, detail.into())
}

/// What every version begins with.
fn head(status: u8) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&PROTOCOL.to_le_bytes());
    head.push(status);
    head
}

/// What both have said, and a secret, if they have one.
struct Transcript<'a> {
    key: Option<Key>,
    dialler: &'a Hello,
    acceptor: &'a Hello,
}

impl Transcript<'_> {
    /// A keyed hash over a purpose and everything that was said.
    fn mac(&self, purpose: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = self.key.as_ref()?.mac();
        mac.update(purpose);
        mac.update(&self.dialler.bytes);
        mac.update(&self.acceptor.bytes);
        Some(mac)
    }

    /// The status to go on, and the proof, if there is a secret.
    fn proof(&self, purpose: &[u8]) -> Vec<u8> {
        let mut said = vec![GO_ON];
        if let Some(mac) = self.mac(purpose) {
            said.extend_from_slice(&mac.finalize().into_bytes());
        }
        said
    }

    /// Whether the other side's proof shows that it knows this secret. Without one there is nothing to show.
    fn holds(&self, purpose: &[u8], proof: &[u8]) -> bool {
        // In constant time.
        self.mac(purpose)
            .is_none_or(|mac| mac.verify_slice(proof).is_ok())
    }

    fn seal(&self, purpose: &[u8]) -> Seal {
        match self.mac(purpose) {
            Some(mac) => Seal::Key(Box::new(keyed(&mac.finalize().into_bytes()))),
            None => Seal::Checksum,
        }
    }
}

/// Reads the other side's status and proof; the proof is empty without a secret.
async fn read_proof(
    io: &mut (impl AsyncRead + Unpin),
    has_secret: bool,
) -> Result<Vec<u8>, Broken> {
    let status = io.read_u8().await?;
    if status != GO_ON {
        return Err(Broken::RefusedBy(Refusal::of_code(status)));
    }
    let mut proof = vec![0; if has_secret { PROOF_BYTES } else { 0 }];
    io.read_exact(&mut proof).await?;
    Ok(proof)
}

/// What speaks against the other side before anything is proved.
fn judge(own: &Hello, theirs: &Hello, wanted: Option<NodeId>) -> Result<(), Broken> {
    if theirs.has(SECRET) != own.has(SECRET) {
        let detail = match own.has(SECRET) {
            true => "this one has",
            false => "the other has",
        };
        return Err(Broken::Refused(Refusal::Secret, detail.into()));
    }
    if theirs.node == own.node {
        return Err(Broken::refused(Refusal::Itself));
    }
    if let Some(wanted) = wanted
        && theirs.node != wanted
    {
        let detail = format!("{} is there instead of {wanted}", theirs.node);
        return Err(Broken::Refused(Refusal::Stranger, detail));
    }
    Ok(())
}

/// Tells the other side why it is refused.
async fn refuse(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    said: impl FnOnce(u8) -> Vec<u8>,
    broken: Broken,
) -> Broken {
    let Broken::Refused(refusal, _) = &broken else {
        return broken;
    };
    let told = async {
        io.write_all(&said(*refusal as u8)).await?;
        io.flush().await
    };
    // Whether the other side hears why is its own affair in the end.
    if matches!(tokio::time::timeout(LINGER, told).await, Ok(Ok(()))) {
        linger(io).await;
    }
    broken
}

/// Gives the other side time to hear what was said last: a connection that is closed with something unread takes what
/// was written with it.
pub(super) async fn linger(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let heard = async {
        io.shutdown().await?;
        tokio::io::copy(&mut io.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    let heard = tokio::time::timeout(LINGER, heard).await;
    if !matches!(heard, Ok(Ok(_))) {
        tracing::debug!("a node may not have heard why it is refused");
    }
}

/// The handshake of who has connected.
pub(super) async fn dial(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    identity: &Identity,
    wanted: Wanted,
) -> Result<Session, Broken> {
    let own = Hello::new(identity, wanted.introduction)?;
    io.write_all(&own.bytes).await?;
    io.flush().await?;
    let theirs = Hello::read(io).await?;
    if let Err(broken) = judge(&own, &theirs, wanted.node) {
        return Err(refuse(io, |status| vec![status], broken).await);
    }
    let transcript = Transcript {
        key: identity.keys().swap_remove(0),
        dialler: &own,
        acceptor: &theirs,
    };
    io.write_all(&transcript.proof(DIALLER_PROVES)).await?;
    io.flush().await?;
    let proof = read_proof(io, own.has(SECRET)).await?;
    if !transcript.holds(ACCEPTOR_PROVES, &proof) {
        return Err(Broken::refused(Refusal::Proof));
    }
    Ok(Session {
        node: theirs.node,
        sends: transcript.seal(DIALLER_SEALS),
        hears: transcript.seal(ACCEPTOR_SEALS),
        introduction: wanted.introduction,
        address: theirs.address,
    })
}

/// The handshake of who was connected to.
pub(super) async fn accept(io: &mut Stream, identity: &Identity) -> Result<Session, Broken> {
    let own = Hello::new(identity, false)?;
    let theirs = match Hello::read(io).await {
        Ok(theirs) => theirs,
        Err(broken @ Broken::Refused(Refusal::Version | Refusal::Tls, _)) => {
            return Err(refuse(io, head, broken).await);
        }
        Err(broken) => return Err(broken),
    };
    if identity.tls.is_some() && !io.is_private() {
        let detail = "this one has, and the other speaks in the clear";
        let broken = Broken::Refused(Refusal::Tls, detail.into());
        return Err(refuse(io, head, broken).await);
    }
    if let Err(broken) = judge(&own, &theirs, None) {
        return Err(refuse(io, head, broken).await);
    }
    io.write_all(&own.bytes).await?;
    io.flush().await?;
    let proof = read_proof(io, own.has(SECRET)).await?;
    let transcripts = identity.keys().into_iter().map(|key| Transcript {
        key,
        dialler: &theirs,
        acceptor: &own,
    });
    let proved = |transcript: &Transcript<'_>| transcript.holds(DIALLER_PROVES, &proof);
    let Some(transcript) = transcripts.into_iter().find(proved) else {
        let broken = Broken::refused(Refusal::Proof);
        return Err(refuse(io, |status| vec![status], broken).await);
    };
    io.write_all(&transcript.proof(ACCEPTOR_PROVES)).await?;
    io.flush().await?;
    Ok(Session {
        node: theirs.node,
        sends: transcript.seal(ACCEPTOR_SEALS),
        hears: transcript.seal(DIALLER_SEALS),
        introduction: theirs.has(INTRODUCTION),
        address: theirs.address,
    })
}

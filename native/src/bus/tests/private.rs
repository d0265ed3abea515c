//! Nodes that show each other certificates, and those who show none, or wrong ones.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

use super::*;

/// Who signs certificates.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate that holds until this year, and its key.
    fn sign_until(&self, year: i32) -> [String; 2] {
        let mut params = CertificateParams::default();
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        [certificate.pem(), key.serialize_pem()]
    }
}

/// A node's three files.
pub(super) struct Files {
    _directory: tempfile::TempDir,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) authority: PathBuf,
}

impl Files {
    pub(super) fn new(signed_by: &Authority, believes: &Authority) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let files = Self {
            certificate: file("node.crt"),
            key: file("node.key"),
            authority: file("ca.crt"),
            _directory: directory,
        };
        files.write(signed_by, 2900);
        std::fs::write(&files.authority, believes.pem()).unwrap();
        files
    }

    pub(super) fn write(&self, signed_by: &Authority, until: i32) {
        let [certificate, key] = signed_by.sign_until(until);
        std::fs::write(&self.certificate, certificate).unwrap();
        std::fs::write(&self.key, key).unwrap();
    }

    pub(super) fn tls(&self) -> Tls {
        Tls::read(&self.certificate, &self.key, &self.authority).unwrap()
    }
}

/// What a node of an authority's cluster shows.
fn shown(authority: &Authority) -> Option<Tls> {
    Some(Files::new(authority, authority).tls())
}

fn private(node: u64, secret: Option<Secret>, tls: Option<Tls>) -> BusConfig {
    BusConfig {
        tls,
        ..config(node, secret)
    }
}

/// Two nodes, of which the first has the second for a member and something to say to it.
fn pair(one: BusConfig, two: BusConfig) -> [TestNode; 2] {
    let [one, two] = [one, two].map(TestNode::start);
    let map = map_of(&[(1, &one.address()), (2, &two.address())]);
    one.bus.learn(&map);
    one.bus.send(packet_of(1, 2, 7));
    [one, two]
}

#[tokio::test]
async fn nodes_with_certificates_speak_to_each_other() {
    let authority = Authority::new();
    for secret in [None, Some(secret())] {
        let node = |id| private(id, secret.clone(), shown(&authority));
        let [one, two] = pair(node(1), node(2));
        let long = packet(1, 2, &[9 << 20]);
        one.bus.send(long.clone());
        until("two packets", || two.heard().len() == 2).await;
        assert_eq!(two.heard(), [packet_of(1, 2, 7), long]);
        two.bus.send(packet_of(2, 1, 8));
        until("a packet at one", || one.heard() == [packet_of(2, 1, 8)]).await;
    }
}

#[tokio::test]
async fn a_connection_with_certificates_on_which_nothing_is_said_stays() {
    let authority = Authority::new();
    let node = |id| {
        let mut config = private(id, None, shown(&authority));
        config.limits.alive = Duration::from_millis(30);
        config.limits.silence = Duration::from_millis(300);
        config
    };
    let [one, two] = pair(node(1), node(2));
    let stands = || one.link(2).is_some_and(|link| link.connected_for_ms > 700);
    until("a connection that stands", stands).await;
    assert_eq!(two.refused(Refusal::Silent), 0);
}

#[tokio::test]
async fn a_dialler_whose_certificate_another_authority_signed_is_refused() {
    let (ours, other) = (Authority::new(), Authority::new());
    // It believes us, or it would refuse first.
    let stranger = Files::new(&other, &ours);
    let [one, two] = pair(
        private(1, None, Some(stranger.tls())),
        private(2, None, shown(&ours)),
    );
    until("a refusal", || two.refused(Refusal::Certificate) > 0).await;
    let error = one.bus.meet(&two.address()).await.unwrap_err().to_string();
    assert!(error.contains("the peer refuses this node"), "{error}");
    assert!(error.contains("certificate"), "{error}");
    assert!(two.heard().is_empty() && !one.is_connected(2));
    two.works_for_others().await;
}

#[tokio::test]
async fn an_acceptor_whose_certificate_another_authority_signed_is_refused() {
    let (ours, other) = (Authority::new(), Authority::new());
    let stranger = Files::new(&other, &ours);
    let [one, two] = pair(
        private(1, None, shown(&ours)),
        private(2, None, Some(stranger.tls())),
    );
    until("a refusal", || one.refused(Refusal::Certificate) > 0).await;
    let error = one.bus.meet(&two.address()).await.unwrap_err().to_string();
    assert!(error.contains("another authority has signed it"), "{error}");
    assert!(two.heard().is_empty() && !one.is_connected(2));
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused() {
    let authority = Authority::new();
    let old = Files::new(&authority, &authority);
    old.write(&authority, 2000);
    let [one, two] = pair(
        private(1, None, Some(old.tls())),
        private(2, None, shown(&authority)),
    );
    until("a refusal", || two.refused(Refusal::Certificate) > 0).await;
    assert!(two.heard().is_empty() && !one.is_connected(2));
    two.works_for_others().await;
}

#[tokio::test]
async fn who_speaks_in_the_clear_is_refused_by_who_has_a_certificate() {
    let authority = Authority::new();
    let [one, two] = pair(
        config(1, Some(secret())),
        private(2, Some(secret()), shown(&authority)),
    );
    until("a refusal", || two.refused(Refusal::Tls) > 0).await;
    let error = one.bus.meet(&two.address()).await.unwrap_err().to_string();
    assert!(error.contains("--bus-tls-cert"), "{error}");
    assert!(two.heard().is_empty() && !one.is_connected(2));
    two.works_for_others().await;
}

#[tokio::test]
async fn who_has_a_certificate_does_not_speak_in_the_clear() {
    let authority = Authority::new();
    let [one, two] = pair(
        private(1, Some(secret()), shown(&authority)),
        config(2, Some(secret())),
    );
    until("a refusal there", || two.refused(Refusal::Tls) > 0).await;
    until("a refusal here", || one.refused(Refusal::Tls) > 0).await;
    let error = one.bus.meet(&two.address()).await.unwrap_err().to_string();
    assert!(error.contains("the other does not speak TLS"), "{error}");
    assert!(two.heard().is_empty() && !one.is_connected(2));
    two.works_for_others().await;
}

#[tokio::test]
async fn who_has_a_certificate_and_not_the_secret_is_refused() {
    let authority = Authority::new();
    let other = Secret::new(b"what the nodes of another know").unwrap();
    let [one, two] = pair(
        private(1, Some(other), shown(&authority)),
        private(2, Some(secret()), shown(&authority)),
    );
    until("a refusal", || two.refused(Refusal::Proof) > 0).await;
    assert!(two.heard().is_empty() && !one.is_connected(2));
    two.works_for_others().await;
}

#[tokio::test]
async fn a_certificate_opens_the_bus_to_other_machines() {
    let authority = Authority::new();
    let open = BusConfig {
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        ..private(1, None, shown(&authority))
    };
    assert!(Bus::bind(open).is_ok());
}

#[test]
fn files_that_are_none_are_named_and_not_shown() {
    let authority = Authority::new();
    let files = Files::new(&authority, &authority);
    let failure = |certificate: &Path, key: &Path, authority: &Path| {
        let failure = Tls::read(certificate, key, authority).unwrap_err();
        failure.to_string()
    };
    let none = Path::new("there/is/none");
    let (certificate, key, authority) = (&files.certificate, &files.key, &files.authority);
    assert!(failure(none, key, authority).contains("there/is/none"));
    assert!(failure(key, key, authority).contains("node.key"));
    assert!(failure(certificate, authority, authority).contains("ca.crt"));
    assert!(failure(certificate, key, key).contains("node.key"));
    let other = Files::new(&Authority::new(), &Authority::new());
    let swapped = failure(certificate, &other.key, authority);
    assert!(swapped.contains("--bus-tls-key"), "{swapped}");
    assert!(!swapped.contains("PRIVATE"), "{swapped}");
}

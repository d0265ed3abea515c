//! Commands about the connection and the server, which the connection answers itself.

use std::net::SocketAddr;

use bytes::Bytes;
use trilith::command::{
    Protocol, Reply, Session, answer_command, parse_integer, pattern, subcommand,
};

use super::archive::Asked;
use super::cluster::Stance;
use super::shared::Shared;

/// What the server knows of one client.
#[derive(Debug)]
pub struct Client {
    id: u64,
    address: SocketAddr,
    name: Bytes,
    library: Bytes,
    library_version: Bytes,
    /// The protocol it asked for.
    pub protocol: Protocol,
    /// What it has said about the cluster.
    pub stance: Stance,
    /// `standalone` or `cluster`, for HELLO.
    mode: &'static str,
}

/// What a connection does about a command of its own.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Sends a reply.
    Reply(Reply),
    /// Sends INFO of these sections.
    Info(Vec<Bytes>),
    /// Sends OK and closes.
    Quit,
    /// Stops the server, without a reply.
    Shutdown,
    /// Answers about the cluster.
    Cluster,
    /// Asks the archive.
    Archive(Asked),
}

/// Whether what was sent before has to be answered before `session` is looked at: it asks about the
/// effect, or changes how replies are written.
pub fn waits_for_replies(session: Session) -> bool {
    matches!(
        session,
        Session::BgRewriteAof
            | Session::BgSave
            | Session::Cluster
            | Session::Consistency
            | Session::Hello
            | Session::Info
            | Session::LastSave
            | Session::Reset
            | Session::Ring
            | Session::Save
            | Session::Shutdown
            | Session::Wait
    )
}

impl Client {
    /// A client that has just connected, to a server that runs in `mode`: `standalone` or `cluster`.
    pub fn new(id: u64, address: SocketAddr, mode: &'static str) -> Self {
        Self {
            id,
            address,
            name: Bytes::new(),
            library: Bytes::new(),
            library_version: Bytes::new(),
            protocol: Protocol::Resp2,
            stance: Stance::default(),
            mode,
        }
    }

    /// Answers a command; `words` are all of it, their number checked against the table.
    pub fn answer(&mut self, session: Session, words: &mut [Bytes], shared: &Shared) -> Answer {
        Answer::Reply(match session {
            Session::Ping => match words {
                [_] => Reply::Simple("PONG".into()),
                [_, message] => Reply::Bulk(std::mem::take(message)),
                _ => Reply::wrong_arity("ping"),
            },
            Session::Echo => Reply::Bulk(std::mem::take(&mut words[1])),
            Session::Select => match parse_integer(&words[1]) {
                Some(0) => Reply::OK,
                Some(_) => Reply::error("ERR DB index is out of range"),
                None => Reply::NOT_AN_INTEGER,
            },
            Session::Reset => {
                *self = Self::new(self.id, self.address, self.mode);
                Reply::Simple("RESET".into())
            }
            Session::Quit => return Answer::Quit,
            Session::Info => return Answer::Info(words[1..].to_vec()),
            Session::Save => return Answer::Archive(Asked::Save),
            Session::BgSave => match words {
                [_] => return Answer::Archive(Asked::SaveInBackground { scheduled: false }),
                [_, schedule] if schedule.eq_ignore_ascii_case(b"schedule") => {
                    return Answer::Archive(Asked::SaveInBackground { scheduled: true });
                }
                _ => Reply::SYNTAX,
            },
            Session::BgRewriteAof => return Answer::Archive(Asked::Rewrite),
            Session::LastSave => return Answer::Archive(Asked::LastSave),
            Session::Asking
            | Session::Cluster
            | Session::Consistency
            | Session::ReadOnly
            | Session::ReadWrite
            | Session::Ring
            | Session::Wait => return Answer::Cluster,
            Session::Shutdown => match words {
                [_] => return Answer::Shutdown,
                [_, how]
                    if how.eq_ignore_ascii_case(b"nosave") || how.eq_ignore_ascii_case(b"save") =>
                {
                    return Answer::Shutdown;
                }
                _ => Reply::SYNTAX,
            },
            Session::Command => answer_command(words),
            Session::Hello => self.hello(words),
            Session::Client => self.client(words, shared),
            Session::Config => config(words, shared),
        })
    }

    fn hello(&mut self, words: &[Bytes]) -> Reply {
        let mut protocol = self.protocol;
        if let Some(version) = words.get(1) {
            protocol = match parse_integer(version) {
                Some(2) => Protocol::Resp2,
                Some(3) => Protocol::Resp3,
                Some(_) => return Reply::error("NOPROTO unsupported protocol version"),
                None => {
                    return Reply::error("ERR Protocol version is not an integer or out of range");
                }
            };
        }
        let mut name = None;
        let mut options = words.get(2..).unwrap_or_default();
        loop {
            options = match options {
                [] => break,
                [option, value, rest @ ..] if option.eq_ignore_ascii_case(b"setname") => {
                    if !is_name(value) {
                        return BAD_NAME;
                    }
                    name = Some(value.clone());
                    rest
                }
                [option, _, _, ..] if option.eq_ignore_ascii_case(b"auth") => {
                    return Reply::error(
                        "ERR HELLO AUTH called without any password configured: leave out AUTH",
                    );
                }
                [option, ..] => {
                    let option = String::from_utf8_lossy(option);
                    return Reply::Error(
                        format!("ERR Syntax error in HELLO option '{option}'").into(),
                    );
                }
            };
        }
        self.protocol = protocol;
        self.name = name.unwrap_or_default();
        let number = if protocol == Protocol::Resp3 { 3 } else { 2 };
        let pairs = [
            ("server", Reply::fixed("redis")),
            ("version", Reply::fixed(REDIS_VERSION)),
            ("proto", Reply::Int(number)),
            ("id", self.id()),
            ("mode", Reply::fixed(self.mode)),
            ("role", Reply::fixed("master")),
            ("modules", Reply::Array(Vec::new())),
        ];
        Reply::Map(
            pairs
                .map(|(name, value)| (Reply::fixed(name), value))
                .into(),
        )
    }

    fn id(&self) -> Reply {
        Reply::Int(i64::try_from(self.id).unwrap_or(i64::MAX))
    }

    fn client(&mut self, words: &mut [Bytes], shared: &Shared) -> Reply {
        let row = match subcommand(words) {
            Ok(row) => row,
            Err(reply) => return reply,
        };
        match (row.name, &mut words[2..]) {
            ("help", _) => row.help(),
            ("id", _) => self.id(),
            ("getname", _) if self.name.is_empty() => Reply::Null,
            ("getname", _) => Reply::Bulk(self.name.clone()),
            ("setname", [name]) => {
                if !is_name(name) {
                    return BAD_NAME;
                }
                self.name = std::mem::take(name);
                Reply::OK
            }
            ("setinfo", [attribute, value]) => self.set_info(attribute, value),
            ("info", _) => Reply::text(self.describe(shared)),
            ("no-evict" | "no-touch", [switch])
                if switch.eq_ignore_ascii_case(b"on") || switch.eq_ignore_ascii_case(b"off") =>
            {
                Reply::OK
            }
            _ => Reply::SYNTAX,
        }
    }

    fn set_info(&mut self, attribute: &Bytes, value: &mut Bytes) -> Reply {
        let field = if attribute.eq_ignore_ascii_case(b"lib-name") {
            &mut self.library
        } else if attribute.eq_ignore_ascii_case(b"lib-ver") {
            &mut self.library_version
        } else {
            let attribute = String::from_utf8_lossy(attribute);
            return Reply::Error(format!("ERR Unrecognized option '{attribute}'").into());
        };
        if !is_name(value) {
            return BAD_NAME;
        }
        *field = std::mem::take(value);
        Reply::OK
    }

    fn describe(&self, shared: &Shared) -> String {
        let text = String::from_utf8_lossy;
        format!(
            "id={} addr={} laddr={}:{} name={} db=0 resp={} lib-name={} lib-ver={}\n",
            self.id,
            self.address,
            shared.config.bind,
            shared.port,
            text(&self.name),
            if self.protocol == Protocol::Resp3 {
                3
            } else {
                2
            },
            text(&self.library),
            text(&self.library_version),
        )
    }
}

/// The version of Redis whose clients and commands this server is made for.
pub const REDIS_VERSION: &str = "7.0.15";

const BAD_NAME: Reply =
    Reply::error("ERR Client names cannot contain spaces, newlines or special characters.");

fn is_name(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

fn config(words: &[Bytes], shared: &Shared) -> Reply {
    let row = match subcommand(words) {
        Ok(row) => row,
        Err(reply) => return reply,
    };
    match (row.name, &words[2..]) {
        ("get", patterns) => {
            let mut settings = shared.config.settings();
            let patterns: Vec<_> = patterns
                .iter()
                .map(|pattern| pattern.to_ascii_lowercase())
                .collect();
            settings.retain(|(name, _)| {
                patterns
                    .iter()
                    .any(|pattern| pattern::matches(pattern, name.as_bytes()))
            });
            let pairs = settings
                .into_iter()
                .map(|(name, value)| (Reply::fixed(name), Reply::text(value)));
            Reply::Map(pairs.collect())
        }
        ("set", _) => Reply::error(
            "ERR settings are given when the server starts: see `trilith serve --help`",
        ),
        _ => row.help(),
    }
}

//! The words of one command, taken from the left as its parser understands them.

use bytes::Bytes;

use super::Reply;
use super::number::parse_integer;

/// The words behind a command's name. The table has checked their number against the arity, so what
/// the arity promises is there to take.
#[derive(Debug)]
pub struct Args<'a> {
    name: &'static str,
    words: &'a mut [Bytes],
    at: usize,
}

impl<'a> Args<'a> {
    pub(super) fn new(name: &'static str, words: &'a mut [Bytes]) -> Self {
        Self { name, words, at: 0 }
    }

    /// The command's name, for error texts.
    pub(super) fn command(&self) -> &'static str {
        self.name
    }

    /// How many words are left.
    pub(super) fn len(&self) -> usize {
        self.words.len() - self.at
    }

    /// The next word, if one is left. Moved out: a word costs no second reference.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let word = self.words.get_mut(self.at)?;
        self.at += 1;
        Some(std::mem::take(word))
    }

    /// The next word, which the arity promises.
    pub(super) fn take(&mut self) -> Bytes {
        self.next().unwrap_or_default()
    }

    /// All words that are left.
    pub(super) fn rest(&mut self) -> Vec<Bytes> {
        let rest = self.words[self.at..]
            .iter_mut()
            .map(std::mem::take)
            .collect();
        self.at = self.words.len();
        rest
    }

    /// All words that are left, in place.
    pub(super) fn rest_mut(&mut self) -> &mut [Bytes] {
        &mut self.words[self.at..]
    }

    /// The next word as a number.
    pub(super) fn integer(&mut self) -> Result<i64, Reply> {
        parse_integer(&self.take()).ok_or(Reply::NOT_AN_INTEGER)
    }

    /// The word that an option needs behind it, as a number.
    pub(super) fn option_integer(&mut self) -> Result<i64, Reply> {
        let word = self.next().ok_or(Reply::SYNTAX)?;
        parse_integer(&word).ok_or(Reply::NOT_AN_INTEGER)
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), Reply> {
        if self.len() == 0 {
            Ok(())
        } else {
            Err(Reply::SYNTAX)
        }
    }
}

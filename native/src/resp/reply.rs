//! Reading replies, as a client does. For the tests and the bench: plain rather than fast.

use bytes::Bytes;
use trilith::command::{Reply, parse_integer};

use super::line::line_end;

/// How deep lists may nest.
const DEPTH_MAX: usize = 32;

/// The reply at the front of `input` and its length in bytes; `None` if it has not all arrived. An `Err` says
/// what is wrong with the bytes.
pub fn read_reply(input: &[u8]) -> Result<Option<(Reply, usize)>, String> {
    let mut at = 0;
    Ok(read_at(input, &mut at, DEPTH_MAX)?.map(|reply| (reply, at)))
}

fn read_at(input: &[u8], at: &mut usize, depth: usize) -> Result<Option<Reply>, String> {
    let Some(end) = line_end(input, *at, &mut 0) else {
        return Ok(None);
    };
    let Some((&mark, line)) = input[*at..end].split_first() else {
        return Err("a reply begins with an empty line".to_owned());
    };
    *at = end + 2;
    let number = || {
        parse_integer(line).ok_or_else(|| format!("no number: {}", String::from_utf8_lossy(line)))
    };
    let text = || String::from_utf8_lossy(line).into_owned().into();
    Ok(Some(match mark {
        b'+' => Reply::Simple(text()),
        b'-' => Reply::Error(text()),
        b':' => Reply::Int(number()?),
        b'_' => Reply::Null,
        b'$' => match usize::try_from(number()?) {
            Err(_) => Reply::Null,
            Ok(len) => {
                let Some(bytes) = input.get(*at..at.saturating_add(len)) else {
                    return Ok(None);
                };
                if input.len() < *at + len + 2 {
                    return Ok(None);
                }
                *at += len + 2;
                Reply::Bulk(Bytes::copy_from_slice(bytes))
            }
        },
        b'*' | b'%' => {
            let Ok(len) = usize::try_from(number()?) else {
                return Ok(Some(Reply::NullArray));
            };
            if depth == 0 {
                return Err("lists nest too deep".to_owned());
            }
            let mut items = Vec::new();
            let len = if mark == b'%' {
                len.saturating_mul(2)
            } else {
                len
            };
            while items.len() < len {
                let Some(item) = read_at(input, at, depth - 1)? else {
                    return Ok(None);
                };
                items.push(item);
            }
            Reply::Array(items)
        }
        other => return Err(format!("a reply begins with {:?}", char::from(other))),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_read_back_as_they_were_written_once_they_are_whole() {
        let reply = Reply::Array(vec![
            Reply::OK,
            Reply::SYNTAX,
            Reply::Int(-5),
            Reply::fixed("a\r\nb"),
            Reply::Null,
            Reply::NullArray,
            Reply::Array(vec![Reply::fixed("")]),
        ]);
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        let len = bytes.len();
        for cut in 0..len {
            assert_eq!(read_reply(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        bytes.extend_from_slice(b"+more");
        assert_eq!(read_reply(&bytes), Ok(Some((reply, len))));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for bytes in [
            &b"?\r\n"[..],
            b"\r\n",
            b":x\r\n",
            b"$1x\r\n",
            &b"*1\r\n".repeat(100),
        ] {
            assert!(read_reply(bytes).is_err(), "{bytes:?}");
        }
    }
}

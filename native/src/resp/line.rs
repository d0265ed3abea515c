//! Finding where lines end.

/// Where the line that begins at `at` ends: the position of its carriage return, once the line feed
/// behind it has arrived too. `seen` remembers how far was looked, so that a line that arrives byte by
/// byte is not searched from its beginning each time.
pub(super) fn line_end(input: &[u8], at: usize, seen: &mut usize) -> Option<usize> {
    let from = (*seen).max(at);
    match input[from..].iter().position(|&byte| byte == b'\r') {
        Some(offset) => {
            let end = from + offset;
            *seen = end;
            (end + 1 < input.len()).then_some(end)
        }
        None => {
            *seen = input.len();
            None
        }
    }
}

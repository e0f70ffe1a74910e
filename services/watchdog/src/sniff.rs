//! Guesses the type of an answer as Go's `net/http` does where nobody says it:
//! the signatures of the WHATWG MIME sniffing standard, as far as functions
//! answer with such things.

/// Bytes at the beginning that are looked at.
pub(crate) const WINDOW: usize = 512;

const HTML: [&str; 17] = [
    "<!doctype html",
    "<html",
    "<head",
    "<script",
    "<iframe",
    "<h1",
    "<div",
    "<font",
    "<table",
    "<a",
    "<style",
    "<title",
    "<b",
    "<body",
    "<br",
    "<p",
    "<!--",
];

const EXACT: [(&[u8], &str); 20] = [
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\xfe\xff", "text/plain; charset=utf-16be"),
    (b"\xff\xfe", "text/plain; charset=utf-16le"),
    (b"\xef\xbb\xbf", "text/plain; charset=utf-8"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"BM", "image/bmp"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"ID3", "audio/mpeg"),
    (b"OggS\x00", "application/ogg"),
    (b"MThd\x00\x00\x00\x06", "audio/midi"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
    (b"\x1f\x8b\x08", "application/x-gzip"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x00asm", "application/wasm"),
];

/// The type of `content`.
pub(crate) fn content_type(content: &[u8]) -> &'static str {
    let window = &content[..content.len().min(WINDOW)];
    let text = window.trim_ascii_start();
    if HTML.iter().any(|tag| begins_with_tag(text, tag)) {
        return "text/html; charset=utf-8";
    }
    if text.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    if let Some((_, name)) = EXACT
        .iter()
        .find(|(signature, _)| window.starts_with(signature))
    {
        return name;
    }
    match (window.get(..4), window.get(8..12)) {
        (Some(b"RIFF"), Some(b"WEBP")) => return "image/webp",
        (Some(b"RIFF"), Some(b"WAVE")) => return "audio/wave",
        (Some(b"RIFF"), Some(b"AVI ")) => return "video/avi",
        _ => {}
    }
    if window.get(4..8) == Some(b"ftyp") && window.get(8..11) == Some(b"mp4") {
        return "video/mp4";
    }
    if text.iter().any(|&byte| is_binary(byte)) {
        "application/octet-stream"
    } else {
        "text/plain; charset=utf-8"
    }
}

/// Whether `text` begins with a tag in any case, ended by a space or `>`.
fn begins_with_tag(text: &[u8], tag: &str) -> bool {
    let Some((start, rest)) = text.split_at_checked(tag.len()) else {
        return false;
    };
    if tag == "<!--" {
        return start == tag.as_bytes();
    }
    start.eq_ignore_ascii_case(tag.as_bytes()) && matches!(rest.first(), Some(b' ' | b'>'))
}

fn is_binary(byte: u8) -> bool {
    matches!(byte, 0..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_that_go_guesses() {
        for (content, name) in [
            (&b"hello"[..], "text/plain; charset=utf-8"),
            (b"{\"a\":1}", "text/plain; charset=utf-8"),
            (b"\xc3\xa4", "text/plain; charset=utf-8"),
            (b"  <!DOCTYPE HTML>", "text/html; charset=utf-8"),
            (b"<p>x", "text/html; charset=utf-8"),
            (b"<pre>x", "text/plain; charset=utf-8"),
            (b"<!--x", "text/html; charset=utf-8"),
            (b"\n<?xml version", "text/xml; charset=utf-8"),
            (b"\x89PNG\r\n\x1a\n...", "image/png"),
            (b"RIFF....WEBPVP", "image/webp"),
            (b"\x1f\x8b\x08\x00", "application/x-gzip"),
            (b"a\x00b", "application/octet-stream"),
            (b"\x1b[31m", "text/plain; charset=utf-8"),
        ] {
            assert_eq!(content_type(content), name, "{content:?}");
        }
    }

    #[test]
    fn only_the_beginning_counts() {
        let mut content = vec![b'x'; WINDOW];
        content.push(0);
        assert_eq!(content_type(&content), "text/plain; charset=utf-8");
    }
}

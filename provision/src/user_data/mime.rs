//! MIME messages (RFC 2045), as `cloud-init devel make-mime` and Terraform's `cloudinit_config` write them.
use super::unpack::UnpackError;
use super::{MAX_PARTS, Opener, Place, forms};
use mailparse::{DispositionType, MailHeaderMap, ParsedMail};

/// Whether the bytes start with the headers of a message.
pub fn is_message(bytes: &[u8]) -> bool {
    const FIRST_HEADERS: usize = 4096;
    let head = bytes.get(..FIRST_HEADERS).unwrap_or(bytes).trim_ascii_start();
    let mut headers = head.split(|byte| *byte == b'\n').take_while(|line| !line.trim_ascii().is_empty());
    let is = |line: &[u8], name: &str| {
        line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    };
    !head.starts_with(b"#") && headers.any(|line| is(line, "content-type:") || is(line, "mime-version:"))
}

impl Opener {
    /// Opens the parts of a message.
    pub(super) fn message(&mut self, bytes: &[u8], place: &Place, depth: usize) {
        let message = bytes.trim_ascii_start();
        // `From nobody Fri Jan  1 00:00:00 2021`, as in a mailbox.
        let message = match message.starts_with(b"From ").then(|| message.iter().position(|byte| *byte == b'\n')) {
            Some(Some(end)) => message.get(end..).unwrap_or_default().trim_ascii_start(),
            _ => message,
        };
        match mailparse::parse_mail(message) {
            Ok(mail) => self.mail(&mail, bytes, place, depth),
            Err(_) => {
                let hint = "make it again, for example with cloud-init devel make-mime";
                self.fail(place, place.first, "this MIME message cannot be read", hint);
            }
        }
    }

    fn mail(&mut self, mail: &ParsedMail<'_>, whole: &[u8], place: &Place, depth: usize) {
        if !mail.ctype.mimetype.starts_with("multipart/") {
            return self.leaf(mail, whole, place, depth);
        }
        let at = Place { first: place.at(whole, offset(whole, mail.raw_bytes)), ..place.clone() };
        let boundary = mail.ctype.params.get("boundary").map(String::as_str).unwrap_or_default();
        if mail.subparts.is_empty() {
            let hint = "the boundary of its Content-Type must be the one between the parts";
            return self.fail(&at, at.first, "this MIME message has no parts", hint);
        }
        let end = format!("--{boundary}--");
        if !mail.raw_bytes.split(|byte| *byte == b'\n').any(|line| line.trim_ascii_end() == end.as_bytes()) {
            let hint = "the line with the boundary and -- after it is missing: was it cut off?";
            return self.fail(&at, at.first, "this MIME message has no end", hint);
        }
        for part in mail.subparts.iter().take(MAX_PARTS + 1) {
            if depth == 0 && part.ctype.mimetype.starts_with("multipart/") {
                self.too_deep(&at);
            } else if part.ctype.mimetype.starts_with("multipart/") {
                self.mail(part, whole, place, depth - 1);
            } else {
                self.leaf(part, whole, place, depth);
            }
            if self.count > MAX_PARTS {
                return;
            }
        }
    }

    fn leaf(&mut self, part: &ParsedMail<'_>, whole: &[u8], place: &Place, depth: usize) {
        let body = part.raw_bytes.get(part.get_headers().get_raw_bytes().len()..).unwrap_or_default();
        let mut at = Place { first: place.at(whole, offset(whole, body)), ..place.clone() };
        if !self.next_part(&at) {
            return;
        }
        let disposition = part.get_content_disposition();
        let file = match disposition.disposition {
            DispositionType::Attachment | DispositionType::Inline => disposition.params.get("filename"),
            _ => None,
        };
        // A part of a part that was packed has the lines of that one.
        if !at.own_lines {
            at.name = Some(self.name(file.map(String::as_str)));
        }
        for header in ["X-Merge-Type", "Merge-Type"] {
            if part.headers.get_first_header(header).is_some() {
                let what = format!("{header} has no effect: a later part replaces an earlier one key by key");
                self.out.notices.push(at.mistake(at.first, what, ""));
            }
        }
        let mime = part.ctype.mimetype.as_str();
        if !self.is_usable(mime, &at) {
            return;
        }
        let encoding = part.headers.get_first_value("Content-Transfer-Encoding").unwrap_or_default();
        match encoding.trim().to_ascii_lowercase().as_str() {
            "" | "7bit" | "8bit" | "binary" => self.open(body, &at, forms::by_mime_type(mime), depth),
            "base64" | "quoted-printable" => match part.get_body_raw() {
                Ok(body) if body.len() <= self.left => {
                    self.left -= body.len();
                    self.open(&body, &at.unpacked(), forms::by_mime_type(mime), depth);
                }
                Ok(_) => self.fail(&at, at.first, UnpackError::TooBig.to_string(), UnpackError::TooBig.hint()),
                Err(_) => {
                    let what = "this is damaged: it is not what its Content-Transfer-Encoding says";
                    self.fail(&at, at.first, what, "make the message again, and see that it is not cut off on its way");
                }
            },
            _ => {
                let what = "this has a Content-Transfer-Encoding that is not known";
                self.fail(&at, at.first, what, "allowed: 7bit, 8bit, binary, base64, quoted-printable");
            }
        }
    }
}

/// Where a piece of a text starts in it.
fn offset(whole: &[u8], piece: &[u8]) -> usize {
    (piece.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

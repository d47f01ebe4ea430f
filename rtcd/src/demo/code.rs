//! An address as a QR code, for a phone's camera.
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

/// The longest address that is drawn: with it the code is still read from a screen.
const MAX_BYTES: usize = 300;

/// Pixels on each side, before the page scales it.
const SIDE: u32 = 240;

/// The code as SVG; `None` for what is empty or too long.
pub fn svg(text: &str) -> Option<String> {
    if text.is_empty() || text.len() > MAX_BYTES {
        return None;
    }
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    // Dark on light in either theme: not every camera reads the other way round.
    Some(code.render::<svg::Color<'_>>().min_dimensions(SIDE, SIDE).quiet_zone(true).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_a_code_and_a_novel_does_not() {
        let code = svg("https://192.0.2.7:8066/?call=demo").expect("a code");
        assert!(code.contains("<svg") && !code.contains("<script"), "{code}");
        assert_ne!(svg("https://192.0.2.8:8066/?call=demo").as_ref(), Some(&code));
        assert_eq!(svg(""), None);
        assert_eq!(svg(&"x".repeat(MAX_BYTES + 1)), None);
    }
}

//! The size of a JPEG picture, read from its header without looking at the picture itself.

/// Why bytes are not a JPEG picture that telephones show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAPicture {
    /// Not JPEG, or cut off before the size is told.
    Unreadable,
    /// Compressed in a way that nearly nothing shows: lossless, hierarchical or arithmetic.
    Unusual,
}

const FIRST: [u8; 2] = [0xFF, 0xD8];
/// Start of frame: baseline, extended sequential and progressive, all Huffman coded (ITU-T T.81, B.1.1.3).
const USUAL_FRAMES: [u8; 3] = [0xC0, 0xC1, 0xC2];
/// The other starts of frame. C4, C8 and CC in their midst are none.
const UNUSUAL_FRAMES: [u8; 10] = [0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF];
const START_OF_SCAN: u8 = 0xDA;

/// Width and height in pixels.
pub(super) fn pixels(bytes: &[u8]) -> Result<(u16, u16), NotAPicture> {
    let mut rest = bytes.strip_prefix(&FIRST).ok_or(NotAPicture::Unreadable)?;
    loop {
        let (marker, after) = marker(rest).ok_or(NotAPicture::Unreadable)?;
        if marker == START_OF_SCAN {
            return Err(NotAPicture::Unreadable);
        }
        let (segment, after) = segment(after).ok_or(NotAPicture::Unreadable)?;
        if UNUSUAL_FRAMES.contains(&marker) {
            return Err(NotAPicture::Unusual);
        }
        if USUAL_FRAMES.contains(&marker) {
            return frame(segment).ok_or(NotAPicture::Unreadable);
        }
        rest = after;
    }
}

/// The next marker, before which any number of fill bytes may stand (B.1.1.2), and what follows it.
fn marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let after = bytes.strip_prefix(&[0xFF])?;
    let fill = after.iter().take_while(|byte| **byte == 0xFF).count();
    let (marker, after) = after[fill..].split_first()?;
    Some((*marker, after))
}

/// A segment without its length, and what follows it.
fn segment(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, _) = bytes.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (whole, after) = bytes.split_at_checked(length)?;
    Some((whole.get(2..)?, after))
}

/// Width and height from a frame's header (B.2.2): precision, lines, samples a line. A height of 0 is told
/// only after the picture.
fn frame(segment: &[u8]) -> Option<(u16, u16)> {
    let [_, h1, h2, w1, w2, ..] = segment else {
        return None;
    };
    let (height, width) = (
        u16::from_be_bytes([*h1, *h2]),
        u16::from_be_bytes([*w1, *w2]),
    );
    (width > 0 && height > 0).then_some((width, height))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture's header: an application segment with a preview of another size in it, a table, the
    /// frame.
    fn header(frame: u8, width: u16, height: u16) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE1, 0x00, 0x0A];
        bytes.extend([0xFF, 0xC0, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00]);
        bytes.extend([0xFF, 0xFF, 0xFF, 0xC4, 0x00, 0x03, 0x00]);
        bytes.extend([0xFF, frame, 0x00, 0x0B, 0x08]);
        bytes.extend(height.to_be_bytes());
        bytes.extend(width.to_be_bytes());
        bytes.extend([0x01, 0x01, 0x11, 0x00]);
        bytes
    }

    #[test]
    fn the_size_is_that_of_the_frame_and_not_of_what_stands_before_it() {
        for frame in USUAL_FRAMES {
            assert_eq!(pixels(&header(frame, 640, 480)), Ok((640, 480)));
        }
        assert_eq!(pixels(&header(0xC0, 65_535, 1)), Ok((65_535, 1)));
    }

    #[test]
    fn a_picture_compressed_in_an_unusual_way_is_told_as_such() {
        for frame in UNUSUAL_FRAMES {
            let found = pixels(&header(frame, 640, 480));
            assert_eq!(found, Err(NotAPicture::Unusual), "{frame:x}");
        }
    }

    #[test]
    fn a_header_cut_off_anywhere_before_the_size_is_unreadable() {
        let whole = header(0xC0, 640, 480);
        let frame_ends = whole.len();
        for length in 0..frame_ends {
            assert_eq!(pixels(&whole[..length]), Err(NotAPicture::Unreadable));
        }
    }

    #[test]
    fn what_has_no_size_or_is_no_jpeg_is_unreadable() {
        let no_frame = [0xFF, 0xD8, 0xFF, 0xDA, 0x00, 0x02];
        let no_length = [0xFF, 0xD8, 0xFF, 0xE0, 0x00, 0x01, 0x00];
        let png = b"\x89PNG\r\n\x1a\n";
        let none: [&[u8]; 5] = [b"", png, &no_frame, &no_length, b"\xFF\xD8\xFF"];
        for bytes in none {
            assert_eq!(pixels(bytes), Err(NotAPicture::Unreadable), "{bytes:x?}");
        }
        for (width, height) in [(0, 480), (640, 0)] {
            let found = pixels(&header(0xC0, width, height));
            assert_eq!(found, Err(NotAPicture::Unreadable));
        }
    }
}

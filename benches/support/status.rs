//! Reads the gRPC status from trailers: enough of HPACK to find one number.
//!
//! A request that failed under load may succeed when repeated, so its original code is worth
//! having.

use tonic::Code;

/// `grpc-status` in the Huffman code of HPACK.
const NAME: [u8; 8] = [0x9A, 0xCA, 0xC8, 0xB2, 0x12, 0x34, 0xDA, 0x8F];
const PLAIN_NAME: &[u8] = b"grpc-status";
const HUFFMAN: u8 = 0x80;
const CODES: i32 = 17;

/// The code in a header block; `None`: it contains none.
pub(crate) fn grpc_status(block: &[u8]) -> Option<Code> {
    let value = value_after(block, &NAME).or_else(|| value_after(block, PLAIN_NAME))?;
    let code = (0..CODES).find(|code| {
        let text = code.to_string();
        value.starts_with(&huffman(&text)) || value.starts_with(&plain(&text))
    })?;
    Some(Code::from_i32(code))
}

fn value_after<'a>(block: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = block.windows(name.len()).position(|part| part == name)?;
    block.get(at + name.len()..)
}

fn plain(digits: &str) -> Vec<u8> {
    let length = u8::try_from(digits.len()).unwrap();
    [&[length], digits.as_bytes()].concat()
}

/// Digits after their length (RFC 7541, appendix B).
fn huffman(digits: &str) -> Vec<u8> {
    let (mut code, mut bits) = (0_u32, 0_u32);
    for digit in digits.bytes().map(|digit| u32::from(digit - b'0')) {
        let (more, length) = if digit < 3 {
            (digit, 5)
        } else {
            (0b01_1001 + digit - 3, 6)
        };
        code = code << length | more;
        bits += length;
    }
    let padding = bits.next_multiple_of(8) - bits;
    code = (code + 1) << padding;
    code -= 1;
    let length = (bits + padding) / 8;
    let [.., a, b] = code.to_be_bytes();
    if length == 1 {
        vec![HUFFMAN | 1, b]
    } else {
        vec![HUFFMAN | 2, a, b]
    }
}

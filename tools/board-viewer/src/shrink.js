// Makes a picture smaller: 256 colours are enough for a dashboard.
import UPNG from 'upng-js';

// Takes and returns the base64 text of a PNG file.
export async function shrink(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const picture = UPNG.decode(bytes.buffer);
  const [pixels] = UPNG.toRGBA8(picture);
  const small = new Uint8Array(UPNG.encode([pixels], picture.width, picture.height, 256));
  let text = '';
  for (let start = 0; start < small.length; start += 0x8000) {
    text += String.fromCharCode(...small.subarray(start, start + 0x8000));
  }
  return btoa(text);
}

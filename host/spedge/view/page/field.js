// Events as a canvas of the sensor's pixels: numbers of colours through a palette, by WebGL or else by the canvas itself.

const VERTEX = `attribute vec2 at; uniform vec4 part; varying vec2 place;
void main() { gl_Position = vec4(at * 2.0 - 1.0, 0, 1); place = part.xy + part.zw * vec2(at.x, 1.0 - at.y); }`;
const FRAGMENT = `precision mediump float; varying vec2 place; uniform sampler2D shades, palette;
void main() { gl_FragColor = texture2D(palette, vec2((texture2D(shades, place).r * 255.0 + 0.5) / 256.0, 0.5)); }`;

export class Field {
  constructor(canvas, { plain = false } = {}) {
    this.canvas = canvas;
    this.part = null; // of the sensor: x, y, width, height
    this.gl = plain ? null : canvas.getContext("webgl", { alpha: false, antialias: false, preserveDrawingBuffer: true });
    if (this.gl) this.prepare();
    else this.context = canvas.getContext("2d");
  }

  get way() { return this.gl ? "webgl" : "canvas"; }

  prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(gl.getAttribLocation(program, "at"));
    gl.vertexAttribPointer(gl.getAttribLocation(program, "at"), 2, gl.FLOAT, false, 0, 0);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.uniform = (name) => gl.getUniformLocation(program, name);
    this.textures = [0, 1].map((unit) => {
      const texture = gl.createTexture();
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      for (const [name, value] of [
        [gl.TEXTURE_MIN_FILTER, gl.NEAREST], [gl.TEXTURE_MAG_FILTER, gl.NEAREST],
        [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
      ]) gl.texParameteri(gl.TEXTURE_2D, name, value);
      return texture;
    });
    gl.uniform1i(this.uniform("shades"), 0);
    gl.uniform1i(this.uniform("palette"), 1);
  }

  colours(table) { // Uint8Array of 256 times red, green, blue
    this.words = new Uint32Array(256).map((_, i) =>
      0xff000000 | (table[3 * i + 2] << 16) | (table[3 * i + 1] << 8) | table[3 * i]);
    if (!this.gl) return;
    this.gl.activeTexture(this.gl.TEXTURE1);
    this.gl.texImage2D(this.gl.TEXTURE_2D, 0, this.gl.RGB, 256, 1, 0, this.gl.RGB, this.gl.UNSIGNED_BYTE, table);
  }

  draw({ rows, columns, data }) {
    const { x, y, width, height } = this.part ?? { x: 0, y: 0, width: columns, height: rows };
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    if (this.gl) {
      const { gl } = this;
      gl.viewport(0, 0, width, height);
      gl.activeTexture(gl.TEXTURE0);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.LUMINANCE, columns, rows, 0, gl.LUMINANCE, gl.UNSIGNED_BYTE, data);
      gl.uniform4f(this.uniform("part"), x / columns, y / rows, width / columns, height / rows);
      gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
      return;
    }
    const image = this.context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let row = 0; row < height; row++) {
      const from = (y + row) * columns + x;
      for (let column = 0; column < width; column++) pixels[row * width + column] = this.words[data[from + column]];
    }
    this.context.putImageData(image, 0, 0);
  }

  // Red, green and blue of every pixel that is on the canvas, from the left upper one on.
  pixels() {
    const { width, height } = this.canvas;
    const copy = document.createElement("canvas");
    copy.width = width;
    copy.height = height;
    const context = copy.getContext("2d");
    context.drawImage(this.canvas, 0, 0);
    return context.getImageData(0, 0, width, height).data.filter((_, i) => i % 4 !== 3);
  }
}

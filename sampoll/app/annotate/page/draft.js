// Keeps what is marked on the disk of the command, after each change, one save at a time.

import { askJson } from './requests.js';

export class DraftSaver {
  // `content` returns the prompts; `onState` is called with 'saving', 'saved' or an error.
  constructor(opened, content, onState) {
    this.path = `images/${opened.number}/draft`;
    this.revision = opened.revision;
    this.imageSha256 = opened.image_sha256;
    this.fileSha256 = opened.file_sha256;
    this.content = content;
    this.onState = onState;
    this.isChanged = false;
    this.running = null;
  }

  document(prompts) {
    return {
      revision: this.revision,
      image_sha256: this.imageSha256,
      file_sha256: this.fileSha256,
      prompts,
    };
  }

  get isSaved() {
    return !this.isChanged && !this.running;
  }

  // Call after each change.
  changed() {
    this.isChanged = true;
    this.onState('saving');
    this.running ??= this.save().finally(() => {
      this.running = null;
    });
  }

  // Resolves when all changes are saved; rejects if they cannot be.
  async settled() {
    if (this.isChanged && !this.running) this.changed();
    await this.running;
    if (this.isChanged) throw this.error;
  }

  // Sends what is not saved yet although the page is closed.
  flush() {
    if (this.isChanged && !this.running) this.put({ keepalive: true }).catch(() => {});
  }

  async save() {
    try {
      while (this.isChanged) {
        this.isChanged = false;
        ({ revision: this.revision } = await this.put({}));
      }
      this.onState('saved');
    } catch (error) {
      this.isChanged = true;
      this.error = error;
      this.onState(error);
    }
  }

  put(options) {
    return askJson('PUT', this.path, { body: this.document(this.content()), ...options });
  }
}

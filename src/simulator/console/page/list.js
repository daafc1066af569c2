// @ts-check
import { h, render } from './dom.js';

/**
 * A list of any length: only the rows in sight are in the page, and only they are asked for. One stop for Tab; arrows,
 * `j` and `k`, Home and End move, Enter opens.
 * @template T
 */
export class List {
  /** Must be the height of `.row` in the style sheet. */
  static ROW_PX = 48;
  /** Rows asked for beyond those in sight, before and after. */
  static BEYOND = 10;

  /** @type {T[]} */
  #items = [];
  #offset = 0;
  #active = -1;
  #running = false;
  #again = false;
  #generation = 0;

  /**
   * @param {HTMLElement} element
   * @param {{
   *   label: string,
   *   fetch: (offset: number, limit: number) => Promise<{ total: number, offset: number, items: T[] }>,
   *   key: (item: T) => string,
   *   row: (item: T) => Node[],
   *   open: (item: T) => void,
   *   empty: () => Node[],
   *   count: (total: number) => void,
   * }} options
   */
  constructor(element, options) {
    this.element = element;
    this.options = options;
    this.total = 0;
    /** The key of the row that is shown in the detail. */
    this.current = '';
    this.rows = h('div', { class: 'list-rows' });
    this.empty = h('div', { class: 'empty' });
    this.box = h(
      'div',
      { class: 'list-box', role: 'listbox', 'aria-label': options.label, tabindex: 0 },
      this.rows,
    );
    this.box.onscroll = () => void this.refresh();
    this.box.onkeydown = (event) => this.#onKey(event);
    this.box.onfocus = () => {
      if (this.#active < 0 && this.total > 0) this.#move(this.#currentIndex());
    };
    element.append(this.box, this.empty);
    new ResizeObserver(() => void this.refresh()).observe(this.box);
  }

  /** Forgets what was shown: it is another list now. */
  reset() {
    this.#generation += 1;
    this.#items = [];
    this.#active = -1;
    this.total = 0;
    this.box.scrollTop = 0;
    void this.refresh();
  }

  /** Asks again for what is in sight. */
  async refresh() {
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#running = true;
    do {
      this.#again = false;
      const generation = this.#generation;
      const first = Math.max(0, Math.floor(this.box.scrollTop / List.ROW_PX) - List.BEYOND);
      const limit = Math.ceil((this.box.clientHeight || 400) / List.ROW_PX) + 2 * List.BEYOND;
      try {
        const page = await this.options.fetch(first, limit);
        if (generation !== this.#generation) {
          this.#again = true;
          continue;
        }
        this.total = page.total;
        this.#items = page.items;
        this.#offset = page.offset;
        this.draw();
      } catch {
        // The link says so at the top of the page; the next change asks again.
      }
    } while (this.#again);
    this.#running = false;
  }

  draw() {
    const { key, row, count, empty } = this.options;
    count(this.total);
    this.#active = Math.min(this.#active, this.total - 1);
    this.box.hidden = this.total === 0;
    this.empty.hidden = this.total !== 0;
    if (this.total === 0) render(this.empty, ...empty());
    render(
      this.rows,
      ...this.#items.map((item, index) => {
        const at = this.#offset + index;
        return h(
          'div',
          {
            class: 'row',
            role: 'option',
            id: `${this.element.id}-${at}`,
            'data-key': key(item),
            'data-at': at,
            'aria-posinset': at + 1,
            'aria-setsize': this.total,
            'aria-selected': String(key(item) === this.current),
            'data-active': at === this.#active,
            onclick: () => {
              this.#active = at;
              this.options.open(item);
            },
          },
          ...row(item),
        );
      }),
    );
    this.rows.style.height = `${this.total * List.ROW_PX}px`;
    for (const element of /** @type {NodeListOf<HTMLElement>} */ (this.rows.querySelectorAll('.row'))) {
      element.style.transform = `translateY(${Number(element.dataset['at']) * List.ROW_PX}px)`;
    }
    if (this.#active >= 0)
      this.box.setAttribute('aria-activedescendant', `${this.element.id}-${this.#active}`);
    else this.box.removeAttribute('aria-activedescendant');
  }

  /** @param {string} key */
  select(key) {
    if (this.current === key) return;
    this.current = key;
    this.draw();
  }

  focus() {
    this.box.focus();
  }

  /** @param {number} by */
  step(by) {
    if (this.total > 0) this.#move(this.#active < 0 ? this.#currentIndex() : this.#active + by);
  }

  openActive() {
    const item = this.#items[this.#active - this.#offset];
    if (item !== undefined) this.options.open(item);
  }

  #currentIndex() {
    const found = this.#items.findIndex((item) => this.options.key(item) === this.current);
    return found < 0 ? 0 : this.#offset + found;
  }

  /** @param {number} to */
  #move(to) {
    this.#active = Math.max(0, Math.min(this.total - 1, to));
    const top = this.#active * List.ROW_PX;
    const { scrollTop, clientHeight } = this.box;
    if (top < scrollTop) this.box.scrollTop = top;
    else if (top + List.ROW_PX > scrollTop + clientHeight)
      this.box.scrollTop = top + List.ROW_PX - clientHeight;
    this.draw();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.box.clientHeight / List.ROW_PX) - 1);
    /** @type {Record<string, number>} */
    const steps = {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -this.total,
      End: this.total,
    };
    const by = steps[event.key];
    if (by !== undefined) this.step(by);
    else if (event.key === 'Enter' || event.key === ' ') this.openActive();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

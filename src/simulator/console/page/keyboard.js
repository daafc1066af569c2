// @ts-check
import { isDialogOpen } from './dialogs.js';

/**
 * One key, one action, wherever the focus is but in a field or a dialog. In a field Escape leaves it, and in the search
 * Enter or the arrow goes on to what was found.
 * @param {Record<string, () => void>} shortcuts
 * @param {HTMLInputElement} search
 * @param {() => void} toResults
 */
export function listenToKeys(shortcuts, search, toResults) {
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isDialogOpen()) return;
    const at = /** @type {HTMLElement} */ (event.target);
    if (at.matches('input, textarea, select')) {
      if (event.key === 'Escape') leave(/** @type {HTMLInputElement} */ (at));
      else if (at === search && (event.key === 'ArrowDown' || event.key === 'Enter')) {
        event.preventDefault();
        toResults();
      }
      return;
    }
    // What has the focus is opened by it.
    if (event.key === 'Enter' && at.matches('button, a, summary, [role=listbox]')) return;
    const shortcut = Object.hasOwn(shortcuts, event.key) ? shortcuts[event.key] : undefined;
    if (!shortcut) return;
    event.preventDefault();
    shortcut();
  });
}

/** @param {HTMLInputElement} field */
function leave(field) {
  if (field.type === 'search' && field.value !== '') {
    field.value = '';
    field.dispatchEvent(new Event('input'));
  } else field.blur();
}

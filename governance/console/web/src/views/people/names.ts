/** splitNames reads names that are separated by commas or spaces. */
export function splitNames(text: string): string[] {
  return [...new Set(text.split(/[\s,，]+/).filter((n) => n !== ''))]
}

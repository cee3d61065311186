/** Lists that are empty most of the time, of which there are several for each stream: all empty ones are the same. */

/** The empty list. Nothing can be added to it. */
export const nobody: Array<never> = Object.freeze<Array<never>>([]) as Array<never>

/** The list with one more: the same, but for the empty one. */
export const withOne = <One>(list: Array<One>, one: One): Array<One> => {
  if (list === nobody) return [one]
  list.push(one)
  return list
}

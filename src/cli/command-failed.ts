/** A command that could not do its work: the message is for a person, and needs no stack. */
export class CommandFailed extends Error {}

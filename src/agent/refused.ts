/** What the agent will not do now, for a reason that a person is told. */
export class Refused extends Error {}

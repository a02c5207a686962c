/** The text that an application built on GME shows its users, as the model card asks. */
export const attribution = "Built with GME";

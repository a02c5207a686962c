import { inspectImage } from "../../index";
import type { EmbedService } from "../service/embed-service";
import type { ItemPictures } from "../item-pictures";
import { readAnyImage } from "../wire/wire-image";
import type { SearchRoutesOptions } from "./search-routes";

/** A search's query takes its turn among the embedding requests, and its picture passes the same checks. */
export function queryEmbedding(
  pictures: ItemPictures,
  service: EmbedService,
): Pick<SearchRoutesOptions, "embedQuery" | "readImage"> {
  return {
    readImage: async (image, { signal }) => {
      const item = { field: "image", image: readAnyImage(image, "image") };
      const { items } = await pictures.ready([item], signal);
      return items[0].image as Uint8Array;
    },
    embedQuery: async ({ text, image, instruction }, { signal, client }) => {
      const [width, height] = image === undefined ? [0, 0] : (await inspectImage(image)).size;
      const item = {
        ...{ field: text === undefined ? "image" : "query", pixels: width * height },
        ...(text !== undefined && { text }),
        ...(image !== undefined && { image }),
        ...(instruction !== undefined && { prompt: instruction }),
      };
      const [{ embedding }] = await service.embed([item], { client, overflow: "error", signal });
      return embedding;
    },
  };
}
